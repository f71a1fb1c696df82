// Trains a network, step by step, in slices that a device shares with generation.
//
// Whatever is random is a function of (seed, step, row): the order of the pictures, flips, crops,
// timesteps, noise, dropped labels. So a run that is stopped anywhere and goes on from a snapshot
// repeats, on a CPU with as many threads bit for bit, what an undisturbed one does. Where that went
// wrong it may go back to a snapshot and draw anew (Setup::rolled_back_to).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/nn/network.h"
#include "core/nn/state_dict.h"
#include "core/sampling/options/scheduler_config.h"
#include "core/train/loss_scaler.h"
#include "core/train/model_state.h"
#include "core/train/objective.h"
#include "core/train/run_state.h"
#include "core/train/step_losses.h"
#include "core/train/timestep_sampler.h"
#include "core/train/training_options.h"

namespace denoise {

// A network made of `parameters`, through which gradients reach them; cheap enough to make for every
// network call. `parameters` are float32 on the device it shall live on.
using NetworkBinder = std::function<std::shared_ptr<const Network>(const StateDict& parameters,
                                                                   at::ScalarType dtype)>;

// Where batches come from. Called from the trainer's thread, step after step; may prefetch.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  // Pictures [first, first + count) of the batch of `step`, 1 is the first, on the CPU: x0 [count, C,
  // H, W] float32 and labels (0 where there are no classes), the same whenever it is asked. Blocks
  // while they are being read.
  virtual absl::StatusOr<TrainingRows> Rows(int64_t step, int first, int count) = 0;
  virtual int64_t pictures() const = 0;  // in the data set
};

// One step of the optimiser.
struct StepReport {
  int64_t step = 0;  // 1 is the first
  double loss = 0;   // mean over the batch
  std::optional<double> simple_loss;
  std::optional<double> vlb_loss;
  double learning_rate = 0;
  double gradient_norm = 0;  // before clipping
  bool skipped = false;      // loss or gradient was not finite: nothing was changed
};

// All that a run is, between two steps. Immutable: its tensors are copies of their own, on the CPU.
struct TrainingSnapshot {
  int64_t step = 0;  // steps done
  // "weights.NAME", "ema.I.NAME", "adam.m.NAME", "adam.v.NAME", "timesteps.NAME", all float32.
  StateDict tensors;
  std::string state;  // JSON of everything else: options, counters, loss scale
};

// Not thread-safe: one thread at a time. Gradients must be recorded there: never under
// c10::InferenceMode, nor without c10::GradMode. Every call that fails with ResourceExhausted has run
// out of the device's memory; Internal: the device failed.
class Trainer {
 public:
  struct Setup {
    StateDict weights;  // what training starts from, on the CPU; not changed
    NetworkBinder binder;
    SchedulerConfig scheduler;
    std::optional<int64_t> null_class_label;
    std::shared_ptr<BatchSource> batches;
    TrainingOptions options;
    // The steps done of the snapshot that the run went back to, if it did: those after it draw anew
    // (SeedOfStep), but for the order of the pictures, and count steps that are not finite anew.
    std::optional<int64_t> rolled_back_to;
    at::Device device = at::kCPU;
  };
  // InvalidArgument with field violations named as the members of TrainingOptions.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(Setup setup);

  // One network call forth and back; the last one of a step moves the weights, too, and returns what
  // became of the step. No graph or activation outlives a slice. Errors of the batch source are
  // passed on, and the slice may be tried again; after one of the device, so may the step.
  // Aborted: too many steps in a row were not finite; Restore, or give up.
  // FailedPrecondition: it is done, or gradients are not recorded.
  absl::StatusOr<std::optional<StepReport>> RunSlice();

  int64_t steps_done() const { return steps_done_; }
  int64_t non_finite_steps() const { return counters_.non_finite_steps; }  // since the beginning
  bool done() const { return steps_done_ == setup_.options.max_steps; }

  // After the steps done; what there is of another one is left out.
  absl::StatusOr<TrainingSnapshot> Snapshot() const;
  // InvalidArgument, with nothing changed, where it belongs to another network or other options
  // (max_steps aside).
  absl::Status Restore(const TrainingSnapshot& snapshot);

  // The averages, as they are now, as a network in float32 for sampling, and as weights on the CPU to
  // be published. `index` is that of the decay.
  absl::StatusOr<std::shared_ptr<const Network>> EmaNetwork(size_t index) const;
  absl::StatusOr<StateDict> EmaWeights(size_t index) const;

 private:
  // A step that is under way.
  struct Step {
    int64_t number;
    SampledTimesteps timesteps;
    int rows_done = 0;
    StepLosses losses;
  };

  Trainer(Setup setup, ModelState model, Objective objective, const NetworkSpec& spec);

  RunIdentity identity() const;
  uint64_t SeedOf(int64_t step) const;
  absl::Status CheckWhole() const;
  absl::Status CheckFinite() const;

  absl::Status BeginStep();
  absl::StatusOr<TrainingRows> NextRows() const;
  absl::StatusOr<std::optional<StepReport>> TrainOn(const TrainingRows& rows);
  void Accumulate(const TrainingRows& rows);
  StepReport FinishStep();
  void UpdateModel(const StepReport& report);

  // Constant after construction.
  Setup setup_;  // its weights have become those of model_
  Objective objective_;
  NetworkSpec spec_;

  ModelState model_;
  TimestepSampler timesteps_;
  LossScaler scaler_;
  RunCounters counters_;  // the loss scale aside, which scaler_ holds
  int64_t steps_done_ = 0;
  std::optional<Step> step_;
  bool torn_ =
      false;  // an update was cut short: the model is neither what it was nor what it was to be
};

}  // namespace denoise
