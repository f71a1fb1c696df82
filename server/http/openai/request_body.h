// What a request of the images API brings along, whether as JSON or as a form.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace denoise::openai {

struct RequestBody {
  nlohmann::json fields;   // an object, by the names of the API
  std::string_view image;  // a file of the form, in the body; empty where there is none
  std::string_view mask;
};

inline constexpr int64_t kJsonBytesMax = int64_t{1} << 20;

// InvalidArgument says what is wrong, and with which field.
absl::StatusOr<RequestBody> ReadJsonBody(std::string_view body);

// A form carries text. A field that is not text by its nature is read as JSON, and "adapters[NAME]"
// is a member of an object, as the API's clients write them. InvalidArgument as above.
absl::StatusOr<RequestBody> ReadFormBody(std::string_view content_type, std::string_view body);

}  // namespace denoise::openai
