// Networks and pictures that train quickly, and fail when a test wants them to.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/train/trainer.h"

namespace denoise {

// Every call of a TinyNetwork, as a test sees it.
struct TinyNetworkCall {
  int number;  // counted from 1
  const NetworkInput& input;
};

struct TinyNetworkOptions {
  int64_t channels = 1;
  int64_t height = 4;
  int64_t width = 4;
  int64_t num_class_embeds = 0;
  // Called with every call. The output is multiplied by its result, so NaN spoils it. May throw.
  std::function<float(const TinyNetworkCall&)> hook;
};

StateDict TinyNetworkWeights(const TinyNetworkOptions& options);

// One hidden layer over all pixels, the time and the class, and an unused weight. Weights and
// gradients are rounded to the dtype; arithmetic is float32.
NetworkBinder TinyNetworkBinder(const TinyNetworkOptions& options);

// Random pictures that depend only on the step and row, with class row % classes. Each error is
// returned once.
class FakeBatches : public BatchSource {
 public:
  FakeBatches(int64_t channels, int64_t height, int64_t width, int64_t classes)
      : channels_(channels), height_(height), width_(width), classes_(classes) {}

  absl::StatusOr<TrainingRows> Rows(int64_t step, int first, int count) override;
  int64_t pictures() const override { return 1000; }

  void FailNext(absl::Status error) { error_ = std::move(error); }

 private:
  const int64_t channels_, height_, width_, classes_;
  absl::Status error_;
};

// A trainer of a TinyNetwork on FakeBatches, on DDPM's schedule.
Trainer::Setup TinySetup(const TinyNetworkOptions& network, const TrainingOptions& options);

// Seven pictures per step, in network calls of three.
TrainingOptions SmallOptions();

// The functions below, up to SnapshotOf, fail the test if they fail.
std::unique_ptr<Trainer> Make(const Trainer::Setup& setup);
std::unique_ptr<Trainer> Make(const TrainingOptions& options,
                              const TinyNetworkOptions& network = {});
std::vector<StepReport> Train(Trainer& trainer, int steps);
TrainingSnapshot SnapshotOf(const Trainer& trainer);

double MeanLoss(const std::vector<StepReport>& reports, size_t first, size_t count);
std::vector<std::string> ViolatedFields(const absl::Status& status);

// Runs slices until `steps` more steps are done.
absl::StatusOr<std::vector<StepReport>> RunSteps(Trainer& trainer, int steps);

bool BitEqual(const StateDict& a, const StateDict& b);
bool Close(const StateDict& a, const StateDict& b, double relative, double absolute);

}  // namespace denoise
