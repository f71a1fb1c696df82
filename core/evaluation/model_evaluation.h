// How good a model is: its samples against the pictures of a data set. docs/evaluation.md says what
// the numbers mean.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/data/data_set.h"
#include "core/diffusion/variational_bound.h"
#include "core/evaluation/feature_extractor.h"
#include "core/evaluation/set_metrics.h"
#include "core/image/image.h"
#include "core/nn/network.h"
#include "core/sampling/samplers/plan.h"

namespace denoise {

// FID-50k is the most that papers ask for. More pictures of a data set are searched for copies in
// part, spread evenly.
inline constexpr int64_t kMaxSampleCount = 50'000;
inline constexpr int64_t kMaxPicturesSearched = 50'000;
inline constexpr int kMaxNearestNeighbours = 100;

struct EvaluationOptions {
  int64_t sample_count = 1000;  // as many pictures are compared, or all where there are fewer
  uint64_t seed = 0;            // sample i is the image of seed + i
  double guidance_scale = 1;
  int nearest_neighbours = 5;
  int64_t bits_per_dim_pictures = 0;  // 0: none
  int64_t batch_rows = 8;             // of a network call, and pictures of features, at most
  int64_t sheet_samples = 16;
};

struct ModelReport {
  SetMetrics metrics;
  double memorisation_rate = 0;  // see copy_search.h
  std::optional<double> bits_per_dim;
  std::optional<double> prior_bits_per_dim;  // the part of L_T
  int64_t samples = 0;
  int64_t pictures = 0;           // that samples are compared with
  int64_t pictures_searched = 0;  // for copies
  // Samples, each with the nearest picture to its right, the likeliest copies first.
  Image nearest_neighbours_sheet;
};

// In slices that a device shares with generation. The samples and the report depend on the setup
// alone, on a CPU with as many threads bit for bit. Not thread-safe.
//
// Pictures are compared as 8-bit images, samples as they are sent to clients, and data as they are
// trained on, cropped and resized. The pictures that are compared, and those searched for copies,
// are spread evenly over the data set. Where the network is class-conditional sample i has the
// class of picture i * size / sample_count, so that classes have the proportions of the data set;
// where that has none, the class that stands for none, or else each class in turn.
class ModelEvaluation {
 public:
  struct Setup {
    std::shared_ptr<const Network> network;   // where the work is done
    std::shared_ptr<const SamplerPlan> plan;  // suits the network
    std::optional<int64_t> null_class_label;
    std::shared_ptr<const DataSet> data;               // its labels are the network's classes
    std::shared_ptr<const FeatureExtractor> features;  // on any device
    std::optional<VariationalBound> bound;             // for bits per dimension
    EvaluationOptions options;
  };
  // InvalidArgument with field violations named as the members of EvaluationOptions, "model" or
  // "dataset".
  static absl::StatusOr<std::unique_ptr<ModelEvaluation>> Create(Setup setup);
  ~ModelEvaluation();

  // One network call, one batch of features, or one tile of distances; or a few milliseconds of
  // waiting for pictures to be read. Requires !done(). Internal: the device failed, or the
  // network's output was not finite. Errors of the data set are passed on. After an error the
  // evaluation is over.
  absl::Status RunSlice();
  bool done() const;

  // Samples made, pictures of the data seen, and pictures whose bits are counted.
  struct Progress {
    int64_t pictures_done = 0;
    int64_t pictures_total = 0;
  };
  Progress progress() const;

  const ModelReport& report() const;  // requires done()

 private:
  class Impl;
  explicit ModelEvaluation(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace denoise
