// Compares tensors with the summaries that reference files keep of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>

namespace denoise {

// Expects that `tensor` has the shape, the sums, and the first and last values of `expected`,
// within `tolerance`. abs_sum is compared relative to itself; sum and cos_dot to the larger of
// their size and sqrt(n) * abs_sum / n; a single value to the larger of its size and abs_sum / n.
void ExpectFingerprint(const at::Tensor& tensor, const nlohmann::json& expected, double tolerance);

}  // namespace denoise
