// Encodes or decodes pictures of any size in bounded steps.
//
// A picture above a given size is processed in overlapping tiles, whose results are blended
// linearly, so that time and memory of a step do not grow with the picture. As with the library's
// tiling, each tile is a picture of its own to the codec: statistics of group norms and attention
// are per tile, so colours can differ from the untiled result; overlaps hide the seams.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/codec/codec.h"

namespace denoise {

// In pixels of the picture, rounded down to multiples of the codec's factor (but at least one).
struct TileOptions {
  // The longest side of a tile. Pictures that are no longer are not divided.
  int64_t side = 512;
  // What neighbours share, at least. At most half of `side`; more is treated as half.
  int64_t overlap = 128;
};

// Part of one side of a picture, in latents.
struct TileSpan {
  int64_t start;
  int64_t size;

  bool operator==(const TileSpan&) const = default;
};

// Divides `size` into the fewest spans of one size, at most `side`, that overlap by at least
// `overlap`. Requires 1 <= size, 1 <= side and 0 <= overlap <= side / 2.
std::vector<TileSpan> DivideIntoTiles(int64_t size, int64_t side, int64_t overlap);

// One pass of a batch through a codec. Owns its tensors; not thread-safe. Methods throw c10::Error
// like the codec's, and must be called under c10::InferenceMode if the codec's must.
//
// Whatever the batch, a row's result is what it would be alone. Rows that fit a tile get exactly
// the codec's result for that row.
class TiledPass {
 public:
  // Decodes `latents` [B, C, h, w].
  static TiledPass Decode(std::shared_ptr<const Codec> codec, const at::Tensor& latents,
                          const TileOptions& options);

  // Encodes `pictures` [B, C, H, W] with `noise`, which may be undefined; see Codec::Encode. With
  // `use_statistics` false as EncodeWithoutStatistics does. Means and deviations are blended like
  // pixels.
  static TiledPass Encode(std::shared_ptr<const Codec> codec, const at::Tensor& pictures,
                          const at::Tensor& noise, bool use_statistics, const TileOptions& options);

  // The number of steps in all: tiles of a picture times the rows.
  int64_t steps() const { return steps_; }
  int64_t steps_done() const { return steps_done_; }
  bool done() const { return steps_done_ == steps_; }

  // Runs the codec on one tile of one row. Requires !done().
  void Advance();

  // All rows. Requires done().
  const at::Tensor& result() const;

 private:
  // From the tile of one row, given in latents, to its result.
  using RunTile = std::function<at::Tensor(int64_t row, TileSpan y, TileSpan x)>;

  // `latents` is the shape of one row's latents; results are [result_channels, h * scale, w *
  // scale] for those.
  struct Geometry {
    int64_t rows;
    SampleShape latents;
    int64_t result_channels;
    int64_t scale;
  };

  TiledPass(const Geometry& geometry, at::Device device, int64_t factor, const TileOptions& options,
            RunTile run);

  RunTile run_;
  Geometry geometry_;
  std::vector<TileSpan> spans_y_, spans_x_;
  // For each span how much its result counts at each of its pixels, a float32 vector; the sum over
  // spans is 1 everywhere.
  std::vector<at::Tensor> weights_y_, weights_x_;
  at::Tensor result_;
  int64_t steps_ = 0;
  int64_t steps_done_ = 0;
};

}  // namespace denoise
