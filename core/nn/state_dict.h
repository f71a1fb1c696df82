// Weights by their names in the checkpoint.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

namespace denoise {

using StateDict = std::map<std::string, at::Tensor>;

}  // namespace denoise
