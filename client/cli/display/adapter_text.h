// Adapters, for people and for scripts. No text ends with a newline.
#pragma once

#include <string>
#include <vector>

#include "denoised/v1/models.pb.h"

namespace denoise {

// A line for each adapter below a line of headings, and below them the reasons of those that cannot
// be used.
std::string AdapterTable(const std::vector<denoised::v1::Adapter>& adapters);

// One line, as ModelJson.
std::string AdapterJson(const denoised::v1::Adapter& adapter);

}  // namespace denoise
