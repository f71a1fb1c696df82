// How far apart two distributions are, judged by samples of both.
//
// The energy distance (Szekely & Rizzo 2013) is 2 E|X - Y| - E|X - X'| - E|Y - Y'|: zero where X
// and Y have one distribution and above it elsewhere. It needs no features and no density, only
// distances between samples.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace denoise {

struct EnergyDistance {
  // Unbiased, divided by 2 E|X - Y|: about 0 for one distribution (it can be a little below), 1 for
  // two that have nothing in common.
  double distance;
  // 95 of 100 times chance alone stays below this, where both have one distribution: from random
  // splits of all samples (a permutation test).
  double chance;
};

// Rows of [N, ...] and [M, ...] are independent samples, two at least on either side. `seed` is
// that of the splits.
EnergyDistance MeasureEnergyDistance(const at::Tensor& x, const at::Tensor& y, uint64_t seed);

}  // namespace denoise
