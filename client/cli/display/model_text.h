// Models, for people and for scripts. No text ends with a newline.
#pragma once

#include <string>
#include <vector>

#include "denoised/v1/models.pb.h"

namespace denoise {

// A line for each model below a line of headings.
std::string ModelTable(const std::vector<denoised::v1::Model>& models);

// Everything about one model, its classes included.
std::string ModelDetails(const denoised::v1::Model& model);

// One line: protobuf's JSON mapping with the names of the .proto file (so that 64-bit numbers are
// strings).
std::string ModelJson(const denoised::v1::Model& model);

}  // namespace denoise
