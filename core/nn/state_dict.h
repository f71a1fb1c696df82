// Weights by their names in a checkpoint.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

namespace denoise {

using StateDict = std::map<std::string, at::Tensor>;

}  // namespace denoise
