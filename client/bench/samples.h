// How long something took, measured many times.
#pragma once

#include <cstddef>
#include <vector>

namespace denoise {

// Seconds. Call Sort after the last Add; the other methods need it.
class Samples {
 public:
  void Add(double seconds) { sorted_.push_back(seconds); }
  void Sort();

  size_t size() const { return sorted_.size(); }
  bool empty() const { return sorted_.empty(); }
  const std::vector<double>& sorted() const { return sorted_; }

  // The smallest sample that is at least as large as the part `p` of all (the nearest rank), for p
  // in [0, 1]. Not to be called when empty.
  double Quantile(double p) const;

 private:
  std::vector<double> sorted_;
};

}  // namespace denoise
