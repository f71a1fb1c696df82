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

// Does not hold on to `run`, which has a second copy of everything.
absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(const RunDocument& run, RankGroup* group,
                                                     at::Device device) {
  ASSIGN_OR_RETURN(const ParsedModel model, ParsedModel::Parse(run.model));
  const ModelDescription& description = model.description();
  StateDict weights = WeightsOf(run.snapshot);
  const NetworkBinder binder = [unet = description.unet](const StateDict& parameters,
                                                         at::ScalarType dtype) {
    return BindUNet2D(unet, parameters, dtype, {.batch_invariant = false});
  };
  const NetworkSpec spec = binder(weights, at::kFloat)->spec();
  const TrainingOptions options = TrainingOptionsOf(run.settings);
  ASSIGN_OR_RETURN(auto trainer,
                   Trainer::Create({.weights = std::move(weights),
                                    .binder = binder,
                                    .scheduler = description.scheduler,
                                    .null_class_label = description.null_class_label,
                                    .batches = std::make_shared<ReceivedBatches>(
                                        spec, options.batch_size, run.pictures, group),
                                    .options = options,
                                    .rolled_back_to = run.rolled_back_to,
                                    .device = device}));
  RETURN_IF_ERROR(trainer->Restore(run.snapshot));
  return trainer;
}

absl::StatusOr<std::unique_ptr<Trainer>> ReceiveTrainer(std::shared_ptr<RankGroup> group,
                                                        at::Device device) {
  ASSIGN_OR_RETURN(const RunDocument run, ReceiveRun(*group));
  auto trainer = CatchDeviceErrors([&] { return MakeTrainer(run, group.get(), device); });
  if (trainer.ok()) (*trainer)->TrainWith(std::move(group));
  return trainer;
}

}  // namespace

absl::Status TrainAsTold(std::shared_ptr<RankGroup> group, at::Device device,
                         const std::function<void(const StepReport&)>& on_step) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer,
                   ReceiveTrainer(std::move(group), device));
  while (!trainer->done()) {
    const absl::StatusOr<std::optional<StepReport>> report = trainer->RunSlice();
    if (absl::IsOutOfRange(report.status())) break;
    RETURN_IF_ERROR(report.status());
    if (*report) on_step(**report);
  }
  return absl::OkStatus();
}

}  // namespace denoise
