// Trains a network step by step, in slices, so that a device can generate images in between.
//
// Everything random is a function of (seed, step, row): the order of the pictures, flips, crops,
// timesteps, noise and dropped labels. So a run that stops anywhere and resumes from a snapshot
// repeats what an uninterrupted run does, bit for bit on a CPU with the same number of threads. A
// run that diverged may roll back to a snapshot and draw different numbers (Setup::rolled_back_to).
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
#include "core/ranks/rank_group.h"
#include "core/sampling/options/scheduler_config.h"
#include "core/train/model_state.h"
#include "core/train/objective.h"
#include "core/train/optimizer.h"
#include "core/train/run_state.h"
#include "core/train/step_losses.h"
#include "core/train/timestep_sampler.h"
#include "core/train/training_options.h"

namespace denoise {

// Makes a network of `parameters`, which are float32 and on the network's device, such that
// gradients flow to them. Cheap enough to call for every network call.
using NetworkBinder = std::function<std::shared_ptr<const Network>(const StateDict& parameters,
                                                                   at::ScalarType dtype)>;

class SentBatches;

// Provides the batches. Called on the trainer's thread, step after step; may prefetch.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  // Pictures [first, first + count) of the batch of `step` (counted from 1), on the CPU: x0 [count,
  // C, H, W] float32 and labels (0 without classes). The same arguments always give the same
  // pictures. Blocks while they are being read.
  virtual absl::StatusOr<TrainingRows> Rows(int64_t step, int first, int count) = 0;
  virtual int64_t pictures() const = 0;  // in the data set
};

// The result of one optimiser step.
struct StepReport {
  int64_t step = 0;  // counted from 1
  double loss = 0;   // mean over the batch
  std::optional<double> simple_loss;
  std::optional<double> vlb_loss;
  double learning_rate = 0;
  double gradient_norm = 0;  // before clipping
  bool skipped = false;      // the loss or a gradient was not finite, so nothing changed
};

// The complete state of a run between two steps. Immutable; the tensors are its own copies on the
// CPU.
struct TrainingSnapshot {
  int64_t step = 0;  // steps done
  // "weights.NAME", "ema.I.NAME", "adam.m.NAME", "adam.v.NAME", "timesteps.NAME", all float32.
  StateDict tensors;
  std::string state;  // everything else as JSON: options, counters, loss scale
};

// Not thread-safe. Gradients must be recorded on the calling thread: no c10::InferenceMode, and
// c10::GradMode enabled. ResourceExhausted means that the device is out of memory, Internal that
// the device failed.
class Trainer {
 public:
  struct Setup {
    StateDict weights;  // what training starts from, on the CPU; never written to
    NetworkBinder binder;
    SchedulerConfig scheduler;
    std::optional<int64_t> null_class_label;
    std::shared_ptr<BatchSource> batches;
    TrainingOptions options;
    // If the run rolled back: the steps done in the snapshot it rolled back to. Later steps draw
    // different numbers (SeedOfStep), except for the order of the pictures, and the count of
    // consecutive non-finite steps restarts.
    std::optional<int64_t> rolled_back_to;
    at::Device device = at::kCPU;
  };
  // InvalidArgument with field violations named like the members of TrainingOptions.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(Setup setup);
  ~Trainer();

  // From now on trains together with the other ranks of `group`, which have trainers of the same
  // setup and state: each computes the gradient of its share of a batch, which has at least as many
  // rows as there are ranks. Losses are then the same on every rank, and those of a run on one rank
  // within rounding; weights are the same bit for bit on processors of one kind. Rank 0 sends the
  // others their rows; their `batches` are ReceivedBatches. Between steps only. From then on the
  // error of a slice, unless it is the batch source's, is the end of the group: kRankLostReason
  // where another rank is the reason.
  void TrainWith(std::shared_ptr<RankGroup> group);
  // Whether a rank wants to leave, as of the last step.
  bool rank_leaves() const { return rank_leaves_; }
  // Whether other ranks are in a step with this one, and would take its end for a failure.
  bool in_shared_step() const { return group_ && step_; }
  // On rank 0: what the others hear when this object is destroyed is that nothing follows.
  void SetFinished();

  // Runs one forward and backward pass. The last pass of a step also updates the weights and
  // returns that step's result. No graph or activation outlives a slice. Errors of the batch source
  // are passed on; the slice may then be retried. After a device error the whole step is retried.
  // Aborted: too many consecutive steps were not finite, and the message says which and what of
  // them. Restore a snapshot or give up.
  // FailedPrecondition: training is done, or gradients are not being recorded.
  absl::StatusOr<std::optional<StepReport>> RunSlice();

  int64_t steps_done() const { return steps_done_; }
  int64_t non_finite_steps() const { return counters_.non_finite_steps; }  // since the beginning
  bool done() const { return steps_done_ == setup_.options.max_steps; }

  // Whether the run, as it is after its last complete step, is of any use: the loss of that step
  // was finite, so was some step, and so is every weight and every average. Otherwise Aborted,
  // which names the step and what is not finite. Gradients that overflow now and then do not
  // matter: in float16 they tell the scale of the loss.
  absl::Status CheckUsable() const;

  // The state after the last complete step; a step under way is left out.
  absl::StatusOr<TrainingSnapshot> Snapshot() const;
  // InvalidArgument if the snapshot belongs to another network or other options; max_steps may
  // differ. Nothing changes then.
  absl::Status Restore(const TrainingSnapshot& snapshot);

  // The current moving average with decay number `index`: as a float32 network to sample from, and
  // as weights on the CPU to publish.
  absl::StatusOr<std::shared_ptr<const Network>> EmaNetwork(size_t index) const;
  absl::StatusOr<StateDict> EmaWeights(size_t index) const;

 private:
  // A step under way.
  struct Step {
    int64_t number;
    SampledTimesteps timesteps;
    int rows_done = 0;  // of this rank's share
    StepLosses losses;
  };

  Trainer(Setup setup, ModelState model, Objective objective, const NetworkSpec& spec);

  RunIdentity identity() const;
  uint64_t SeedOf(int64_t step) const;
  absl::Status CheckWhole() const;
  absl::Status CheckFinite() const;
  absl::Status NotFinite() const;
  std::string NameNonFinite(const StepReport& report) const;

  RankGroup::Share share() const;
  absl::Status BeginStep();
  absl::StatusOr<TrainingRows> NextRows() const;
  absl::StatusOr<std::optional<StepReport>> TrainOn(const TrainingRows& rows);
  absl::Status Accumulate(const TrainingRows& rows);
  absl::Status Backward(const at::Tensor& loss, bool is_last);
  absl::StatusOr<StepReport> FinishStep();
  void UpdateModel(const StepReport& report);

  std::shared_ptr<RankGroup> group_;  // null: this is the only rank. Outlives the batches

  std::shared_ptr<SentBatches> sent_batches_;  // rank 0's, which are setup_.batches

  // Constant after construction, except that TrainWith replaces the batches.
  Setup setup_;  // without its weights, which moved to model_
  Objective objective_;
  NetworkSpec spec_;

  ModelState model_;
  std::unique_ptr<GradientSum> gradient_sum_;  // of the group
  bool rank_leaves_ = false;
  TimestepSampler timesteps_;
  LossScaler scaler_;
  RunCounters counters_;  // except for the loss scale, which scaler_ holds
  int64_t steps_done_ = 0;
  std::optional<Step> step_;
  bool loss_is_finite_ = true;                           // of the last step
  std::string not_finite_ = "the loss or its gradient";  // of the last step that was skipped
  bool torn_ = false;  // an update was interrupted: part of the model is old, part is new
};

}  // namespace denoise
