// Measures how good a model is by comparing its samples with a data set. docs/evaluation.md
// explains the numbers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/data/data_set.h"
#include "core/device/device_runtime.h"
#include "core/diffusion/variational_bound.h"
#include "core/evaluation/feature_extractor.h"
#include "core/evaluation/set_metrics.h"
#include "core/image/image.h"
#include "core/nn/network.h"
#include "core/sampling/samplers/plan.h"

namespace denoise {

// Papers use up to FID-50k. Of larger data sets, an evenly spread part is searched for copies.
inline constexpr int64_t kMaxSampleCount = 50'000;
inline constexpr int64_t kMaxPicturesSearched = 50'000;
inline constexpr int kMaxNearestNeighbours = 100;

struct EvaluationOptions {
  int64_t sample_count = 1000;  // compared with as many pictures, or all if there are fewer
  uint64_t seed = 0;            // sample i is the image of seed + i
  double guidance_scale = 1;
  int nearest_neighbours = 5;
  int64_t bits_per_dim_pictures = 0;  // 0: none
  int64_t batch_rows = 8;             // maximum per network call and per batch of features
  int64_t sheet_samples = 16;
};

struct ModelReport {
  SetMetrics metrics;
  double memorisation_rate = 0;  // see copy_search.h
  std::optional<double> bits_per_dim;
  std::optional<double> prior_bits_per_dim;  // the contribution of L_T
  int64_t samples = 0;
  int64_t pictures = 0;           // that the samples were compared with
  int64_t pictures_searched = 0;  // for copies
  // Samples, each with the nearest picture to its right, likeliest copies first.
  Image nearest_neighbours_sheet;
};

// Runs in slices, so that a device can generate images in between. Samples and report depend only
// on the setup, bit for bit on a CPU with the same number of threads. Not thread-safe.
//
// Samples are compared as the 8-bit images that clients get, and pictures as training sees them,
// cropped and resized. Pictures for the comparison and for the search for copies are spread evenly
// over the data set. For a class-conditional network, sample i has the class of picture
// i * size / sample_count, so classes are as frequent as in the data set. If the data set has no
// classes, samples have the null class, or each class in turn if there is none.
class ModelEvaluation {
 public:
  struct Setup {
    std::shared_ptr<const Network> network;   // its device does all the work
    std::shared_ptr<DeviceRuntime> runtime;   // of that device; made if null
    std::shared_ptr<const SamplerPlan> plan;  // for this network
    std::optional<int64_t> null_class_label;
    std::shared_ptr<const DataSet> data;               // its labels are the network's classes
    std::shared_ptr<const FeatureExtractor> features;  // on any device
    std::optional<VariationalBound> bound;             // for bits per dimension
    EvaluationOptions options;
  };
  // InvalidArgument with field violations named like the members of EvaluationOptions, "model" or
  // "dataset".
  static absl::StatusOr<std::unique_ptr<ModelEvaluation>> Create(Setup setup);
  ~ModelEvaluation();

  // Runs one network call, one batch of features or one tile of distances, or waits a few
  // milliseconds for pictures to be read. Requires !done(). Internal: the device failed, or the
  // network's output was not finite. Errors of the data set are passed on. After an error the
  // evaluation cannot continue.
  absl::Status RunSlice();
  bool done() const;

  // Counts samples made, pictures read, and pictures whose bits per dimension were measured.
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
