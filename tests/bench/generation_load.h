// Clients that ask an engine for images, with or without a trainer beside them.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/train/trainer.h"
#include "server/engine/generation.h"

namespace denoise {

struct GenerationLoad {
  int clients = 1;
  int requests = 1;           // of each client, one image each
  absl::Duration mean_pause;  // between an image and the next request, exponentially distributed
  std::optional<double> training_share;  // nullopt: no training
};

struct GenerationTimes {
  std::vector<double> request_seconds;
  double wall_seconds = 0;
  double slice_seconds = 0;
  int slices = 0;

  void Add(const GenerationTimes& other);
};

// An engine of one CPU worker is made for each measurement.
class GenerationBench {
 public:
  struct Options {
    std::filesystem::path checkpoint;
    int threads = 1;
    int steps = 10;            // of an image, by DDIM
    int batch_size = 64;       // pictures of a training step
    int micro_batch_size = 8;  // of a slice
  };
  static absl::StatusOr<GenerationBench> Load(const Options& options);

  absl::StatusOr<GenerationTimes> Measure(const GenerationLoad& load) const;

  // Slices a second while nobody asks for images.
  double SlicesPerSecondAlone(absl::Duration time) const;

 private:
  GenerationBench(const Options& options, GenerationRequest request,
                  std::shared_ptr<Trainer> trainer)
      : options_(options), request_(std::move(request)), trainer_(std::move(trainer)) {}

  Options options_;
  GenerationRequest request_;  // of one image
  std::shared_ptr<Trainer> trainer_;
};

}  // namespace denoise
