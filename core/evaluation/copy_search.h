// Which samples are copies of pictures of the data.
//
// A sample is a copy where the nearest picture is less than a third as far away as the second
// nearest (Yoon et al. 2023, "Diffusion Probabilistic Models Generalize When They Fail to
// Memorize"): among many dimensions the distances to the nearest two are otherwise all but equal.
// Pictures that are in the data twice count once, as those are what a network memorises first.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace denoise {

struct Copies {
  double memorisation_rate = 0;  // the part of samples that are copies
  std::vector<int64_t> nearest;  // of each sample, the index of the nearest picture
  std::vector<double> ratios;    // distance to it over that to the second nearest, in [0, 1]
};

// Sees the pictures a piece at a time and keeps none but the nearest. Not thread-safe.
class CopySearch {
 public:
  // Features of N samples, [N, D] floating-point and finite.
  explicit CopySearch(const at::Tensor& samples);

  // Compares with the features of further pictures, [M, D] on the same device: BeginPiece, then
  // AddToTile(i) for each i in [0, tiles()). Best of kTileRows pictures or somewhat fewer; time and
  // memory of a call are those of two tiles of distances. Pictures are counted from 0 over all
  // pieces. Throw c10::Error where the device fails.
  void BeginPiece(const at::Tensor& pictures);
  int64_t tiles() const { return static_cast<int64_t>(tiles_.size()); }
  void AddToTile(int64_t tile);

  // Requires a picture.
  Copies result() const;

 private:
  // What is known of some of the samples.
  struct SampleTile {
    at::Tensor samples;    // [n, D]
    at::Tensor distances;  // [n, 2] double, squared, to the nearest two
    at::Tensor indices;    // [n, 2] int64
    at::Tensor nearest;    // [n, D], features of the nearest
  };

  // [n, M] squared distances, infinite where the picture has been seen before.
  at::Tensor DistancesToNew(const SampleTile& tile) const;

  at::Tensor centre_;
  std::vector<SampleTile> tiles_;
  at::Tensor piece_;
  at::Tensor repeated_;          // [M] bool, whether an earlier row of the piece is the same
  int64_t pictures_before_ = 0;  // the piece
};

}  // namespace denoise
