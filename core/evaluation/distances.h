// Distances between the features of pictures, tile by tile, so that the memory and time of a call
// are bounded however many pictures there are.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace denoise {

inline constexpr int64_t kTileRows = 1024;

// The tiles of `rows` [N, ...]. The last one may be smaller.
int64_t NumTiles(const at::Tensor& rows);
at::Tensor Tile(const at::Tensor& rows, int64_t tile);  // a view

// The mean [D] double of rows [N, D] of any floating-point type.
at::Tensor MeanRow(const at::Tensor& rows);

// |a_i - b_j|^2 for a [N, D] and b [M, D], as [N, M] double. Computed by matrix products, as |a|^2
// + |b|^2 - 2 ab, in double and relative to `centre` [D], which should lie amid the rows so that
// little cancels. Rows that float32 cannot distinguish, such as one picture's features from two
// batches, have distance 0.
at::Tensor SquaredDistances(const at::Tensor& a, const at::Tensor& b, const at::Tensor& centre);

}  // namespace denoise
