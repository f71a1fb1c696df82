#include "tests/support/fingerprint.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace denoise {
namespace {

void ExpectNear(double value, double expected, double at_least, double tolerance,
                const char* what) {
  EXPECT_NEAR(value, expected, tolerance * std::max(std::abs(expected), at_least)) << what;
}

// `values` begin at element `first`.
void ExpectValues(const at::Tensor& flat, int64_t first, const std::vector<double>& values,
                  double magnitude, double tolerance) {
  for (size_t i = 0; i < values.size(); ++i) {
    const double value = flat[first + static_cast<int64_t>(i)].item<double>();
    ExpectNear(value, values[i], magnitude, tolerance, "one of the values");
  }
}

}  // namespace

void ExpectFingerprint(const at::Tensor& tensor, const nlohmann::json& expected, double tolerance) {
  ASSERT_EQ(tensor.sizes().vec(), expected["shape"].get<std::vector<int64_t>>());
  const at::Tensor flat = tensor.to(at::kDouble).flatten();
  const at::Tensor wave = at::cos(at::arange(flat.numel(), at::kDouble) * 0.1);
  const double count = static_cast<double>(flat.numel()), abs_sum = expected["abs_sum"];
  const double magnitude = abs_sum / count;
  ExpectNear(flat.abs().sum().item<double>(), abs_sum, 0, tolerance, "abs_sum");
  const double of_sums = std::sqrt(count) * magnitude;
  ExpectNear(flat.sum().item<double>(), expected["sum"], of_sums, tolerance, "sum");
  ExpectNear((flat * wave).sum().item<double>(), expected["cos_dot"], of_sums, tolerance,
             "cos_dot");
  const std::vector<double> first = expected["first16"], last = expected["last8"];
  ExpectValues(flat, 0, first, magnitude, tolerance);
  ExpectValues(flat, flat.numel() - static_cast<int64_t>(last.size()), last, magnitude, tolerance);
}

}  // namespace denoise
