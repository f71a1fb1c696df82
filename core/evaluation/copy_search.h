// Finds samples that are copies of pictures in the data set.
//
// A sample is a copy if its distance to the nearest picture is less than a third of that to the
// second nearest (Yoon et al. 2023, "Diffusion Probabilistic Models Generalize When They Fail to
// Memorize"): in many dimensions these distances are otherwise almost equal. Duplicate pictures
// count once, because a network memorises them first.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace denoise {

struct Copies {
  double memorisation_rate = 0;  // the fraction of samples that are copies
  std::vector<int64_t> nearest;  // of each sample, the index of the nearest picture
  std::vector<double> ratios;    // its distance over that of the second nearest, in [0, 1]
};

// Takes the pictures piece by piece and keeps only the nearest ones. Not thread-safe.
class CopySearch {
 public:
  // `samples` are features [N, D], floating-point and finite.
  explicit CopySearch(const at::Tensor& samples);

  // Compares the samples with more pictures, whose features [M, D] are on the same device: call
  // BeginPiece, then AddToTile(i) for each i in [0, tiles()). A piece should have about kTileRows
  // pictures; a call needs the time and memory of two tiles of distances. Pictures are numbered
  // from 0 over all pieces. Throw c10::Error if the device fails.
  void BeginPiece(const at::Tensor& pictures);
  int64_t tiles() const { return static_cast<int64_t>(tiles_.size()); }
  void AddToTile(int64_t tile);

  // Requires at least one picture.
  Copies result() const;

 private:
  // The state of some of the samples.
  struct SampleTile {
    at::Tensor samples;    // [n, D]
    at::Tensor distances;  // [n, 2] double, squared, to the two nearest pictures
    at::Tensor indices;    // [n, 2] int64, of these pictures
    at::Tensor nearest;    // [n, D], features of the nearest
  };

  // [n, M] squared distances; infinite for pictures seen before.
  at::Tensor DistancesToNew(const SampleTile& tile) const;

  at::Tensor centre_;
  std::vector<SampleTile> tiles_;
  at::Tensor piece_;
  at::Tensor repeated_;          // [M] bool, whether the row repeats an earlier one of the piece
  int64_t pictures_before_ = 0;  // before this piece
};

}  // namespace denoise
