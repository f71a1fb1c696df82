#include "client/bench/samples.h"

#include <algorithm>
#include <cmath>

namespace denoise {

void Samples::Sort() { std::sort(sorted_.begin(), sorted_.end()); }

double Samples::Quantile(double p) const {
  const double rank = std::ceil(p * static_cast<double>(sorted_.size()));
  return sorted_[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

}  // namespace denoise
