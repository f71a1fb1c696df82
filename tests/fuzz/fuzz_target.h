// What fuzz targets share. Each target is one file with the function that libFuzzer calls:
//
//     extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
//
// It hands any bytes to one of our readers and requires what the reader promises. The `fuzz` preset
// links it with libFuzzer; every other one with replay.cc, which runs it over tests/data/fuzz.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace denoise {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

inline std::string_view AsText(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Ends the program, which is what libFuzzer takes for a finding.
inline void Require(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

}  // namespace denoise
