// Files as bytes, and statuses as sentences, for the tests of core/io.
#pragma once

#include <gmock/gmock.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace denoise {

// The first eight bytes of a safetensors file.
inline std::string HeaderSize(uint64_t size) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(size >> (8 * i));
  return bytes;
}

inline std::string SafetensorsBytes(std::string_view header, std::string_view data = "") {
  return HeaderSize(header.size()) + std::string(header) + std::string(data);
}

inline void ExpectStatus(const absl::Status& status, absl::StatusCode code,
                         const std::string& part_of_message) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(part_of_message));
}

}  // namespace denoise
