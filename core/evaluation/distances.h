// Distances between the features of pictures, a tile at a time: memory and time of a call are
// bounded, however many pictures there are.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace denoise {

inline constexpr int64_t kTileRows = 1024;

// Of `rows` [N, ...], the last of which may be smaller.
int64_t NumTiles(const at::Tensor& rows);
at::Tensor Tile(const at::Tensor& rows, int64_t tile);  // a view

// The mean of rows [N, D] of any floating-point type, [D] double.
at::Tensor MeanRow(const at::Tensor& rows);

// |a_i - b_j|^2 of a [N, D] and b [M, D], [N, M] double. By matrix products, |a|^2 + |b|^2 - 2 ab,
// in double and about `centre` [D], which is best amid the rows: what cancels then is small. Rows
// that float32 cannot tell apart, as the features of one picture that came from two batches, are at
// distance 0.
at::Tensor SquaredDistances(const at::Tensor& a, const at::Tensor& b, const at::Tensor& centre);

}  // namespace denoise
