#include "server/jobs/ranks/rank_trainer.h"

#include <optional>
#include <utility>

#include "core/base/status_macros.h"
#include "core/diffusion/device_errors.h"
#include "core/io/parsed_model.h"
#include "core/nn/unet2d.h"
#include "core/train/shared_batches.h"
#include "server/jobs/ranks/run_document.h"
#include "server/jobs/settings/training_settings.h"

namespace denoise {
namespace {

constexpr std::string_view kWeights = "weights.";

StateDict WeightsOf(const TrainingSnapshot& snapshot) {
  StateDict weights;
  for (const auto& [name, tensor] : snapshot.tensors) {
    if (name.starts_with(kWeights)) weights[name.substr(kWeights.size())] = tensor;
  }
  return weights;
}

struct Follower {
  std::shared_ptr<ReceivedBatches> batches;
  std::unique_ptr<Trainer> trainer;  // that takes them
};

// Does not hold on to `run`, which has a second copy of everything.
absl::StatusOr<Follower> MakeFollower(const RunDocument& run, RankGroup* group, at::Device device) {
  ASSIGN_OR_RETURN(const ParsedModel model, ParsedModel::Parse(run.model));
  const ModelDescription& description = model.description();
  StateDict weights = WeightsOf(run.snapshot);
  const NetworkBinder binder = [unet = description.unet](const StateDict& parameters,
                                                         at::ScalarType dtype) {
    return BindUNet2D(unet, parameters, dtype, {.batch_invariant = false});
  };
  const NetworkSpec spec = binder(weights, at::kFloat)->spec();
  const TrainingOptions options = TrainingOptionsOf(run.settings);
  Follower follower;
  follower.batches =
      std::make_shared<ReceivedBatches>(spec, options.batch_size, run.pictures, group);
  ASSIGN_OR_RETURN(follower.trainer,
                   Trainer::Create({.weights = std::move(weights),
                                    .binder = binder,
                                    .scheduler = description.scheduler,
                                    .null_class_label = description.null_class_label,
                                    .batches = follower.batches,
                                    .options = options,
                                    .rolled_back_to = run.rolled_back_to,
                                    .device = device}));
  RETURN_IF_ERROR(follower.trainer->Restore(run.snapshot));
  return follower;
}

absl::StatusOr<Follower> ReceiveFollower(std::shared_ptr<RankGroup> group, at::Device device) {
  ASSIGN_OR_RETURN(Follower follower, CatchDeviceErrors([&]() -> absl::StatusOr<Follower> {
                     ASSIGN_OR_RETURN(const RunDocument run, ReceiveRun(*group));
                     return MakeFollower(run, group.get(), device);
                   }));
  RETURN_IF_ERROR(group->ReportReady());
  follower.trainer->TrainWith(std::move(group));
  return follower;
}

}  // namespace

absl::Status FollowRun(std::shared_ptr<RankGroup> group, at::Device device,
                       const std::function<void(const StepReport&)>& on_step) {
  ASSIGN_OR_RETURN(const Follower follower, ReceiveFollower(std::move(group), device));
  absl::Status status;
  while (status.ok() && !follower.trainer->done()) {
    const absl::StatusOr<std::optional<StepReport>> report = follower.trainer->RunSlice();
    status = report.status();
    if (status.ok() && *report) on_step(**report);
  }
  if (status.ok()) status = follower.batches->WaitForEnd();  // only the leader knows how it ends
  return absl::IsOutOfRange(status) ? absl::OkStatus() : status;
}

}  // namespace denoise
