// The parts of a multipart/form-data body (RFC 7578). Reads hostile bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise::openai {

struct FormPart {
  std::string name;       // any bytes
  std::string_view data;  // of the body
};

// In their order, which may have parts of one name. `content_type` is the header of the request,
// with the boundary. InvalidArgument where the body is not such a form, has more than 64 parts, or
// a part has more than 4 KiB of headers.
absl::StatusOr<std::vector<FormPart>> ReadMultipartForm(std::string_view content_type,
                                                        std::string_view body);

}  // namespace denoise::openai
