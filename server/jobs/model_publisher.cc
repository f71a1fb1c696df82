#include "server/jobs/model_publisher.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/ScalarType.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/diffusion/device_errors.h"
#include "core/io/model_writer.h"
#include "core/io/parsed_model.h"
#include "core/nn/unet2d.h"
#include "server/jobs/store/files.h"
#include "server/jobs/store/job_state.h"
#include "server/models/model_id.h"
#include "server/models/model_loader.h"

namespace denoise {
namespace {

using denoised::v1::PublishModelRequest;
using denoised::v1::TrainingEvent;
using denoised::v1::TrainingJob;

std::string WhatSavesOne(const TrainingJob& job) {
  if (job.state() == TrainingJob::PAUSED) return "Resume the job, and publish it then";
  if (job.state() != TrainingJob::RUNNING || job.steps_done() == 0) return "Publish it then";
  return "Publish it then, or pause the job, which saves one at once";
}

absl::Status NoCheckpoint(const TrainingJob& job) {
  if (!job.has_training()) {
    return absl::FailedPreconditionError(
        "an evaluation has no checkpoints. Publish a checkpoint of a training job");
  }
  if (IsOver(job.state())) {
    return absl::FailedPreconditionError(
        absl::StrCat("the job is ", TrainingJob::State_Name(job.state()),
                     " and has no checkpoint, so there is nothing to publish. Start another job"));
  }
  const int64_t first =
      std::min(job.training().checkpoints().every_n_steps(), job.training().max_steps());
  return absl::FailedPreconditionError(
      absl::StrCat("the job has no checkpoint yet: it is ", TrainingJob::State_Name(job.state()),
                   " at step ", job.steps_done(), " of ", job.steps_total(),
                   ", and saves the first one after step ", first, ". ", WhatSavesOne(job)));
}

// The job may have removed it for a newer one, or may never have saved one at that step.
absl::Status NoCheckpointOf(int64_t step, const std::vector<CheckpointFolder::Entry>& entries) {
  const auto step_of = [](std::string* out, const CheckpointFolder::Entry& entry) {
    absl::StrAppend(out, entry.step);
  };
  return absl::FailedPreconditionError(absl::StrCat("the job has no checkpoint of step ", step,
                                                    ". Publish one of those that it has: step ",
                                                    absl::StrJoin(entries, ", ", step_of)));
}

// The index of the moving average that was asked for; the default is the one with the greatest
// decay.
absl::StatusOr<size_t> AverageOf(const denoised::v1::TrainingSettings& settings,
                                 const PublishModelRequest& request) {
  const auto& decays = settings.ema_decays();
  if (!request.has_ema_decay()) {
    return static_cast<size_t>(std::max_element(decays.begin(), decays.end()) - decays.begin());
  }
  const auto found = std::find(decays.begin(), decays.end(), request.ema_decay());
  if (found != decays.end()) return static_cast<size_t>(found - decays.begin());
  return InvalidField("ema_decay", "must be one of the job's ema_decays");
}

// FailedPrecondition unless `weights` make something of an input. Training that diverges leaves
// weights that are not finite, or such that the network's output is not.
absl::Status CheckOutput(const UNet2DConfig& unet, const StateDict& weights) {
  for (const auto& [name, tensor] : weights) {
    if (at::isfinite(tensor).all().item<bool>()) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("the training diverged: the weight ", name,
                     " of this checkpoint is not finite. Publish an earlier checkpoint"));
  }
  const c10::InferenceMode inference;
  const auto network = BindUNet2D(unet, weights, at::kFloat, {.batch_invariant = false});
  const at::Tensor output = network->Forward(ProbeInput(network->spec(), network->device()));
  if (at::isfinite(output).all().item<bool>()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "the training diverged: the output of the network of this checkpoint is not finite. Publish "
      "an earlier checkpoint");
}

bool SameSchedule(const Schedule& a, const Schedule& b) {
  if (a.family() != b.family() || a.num_train_timesteps() != b.num_train_timesteps() ||
      a.timestep_min() != b.timestep_min() || a.timestep_max() != b.timestep_max()) {
    return false;
  }
  const double middle = (a.timestep_min() + a.timestep_max()) / 2;
  for (const double timestep : {a.timestep_min(), middle, a.timestep_max()}) {
    if (a.alpha(timestep) != b.alpha(timestep) || a.sigma(timestep) != b.sigma(timestep)) {
      return false;
    }
  }
  return true;
}

bool SameShape(const NetworkSpec& a, const NetworkSpec& b) { return a.sample == b.sample; }

// Whether clients of `replaced` can use `model` instead.
absl::Status CheckReplaces(const ModelInfo& replaced, const ModelInfo& model) {
  const char* other = !SameShape(model.spec, replaced.spec) ? "shape"
                      : model.spec.num_class_embeds != replaced.spec.num_class_embeds ||
                              model.id2label != replaced.id2label
                          ? "set of classes"
                      : !SameSchedule(model.schedule, replaced.schedule) ? "schedule"
                                                                         : nullptr;
  if (other == nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the model of that name has another ", other,
                                                    "; set allow_replace to replace it anyway"));
}

absl::StatusOr<at::ScalarType> DtypeOf(PublishModelRequest::Precision precision) {
  switch (precision) {
    case PublishModelRequest::PRECISION_UNSPECIFIED:
    case PublishModelRequest::FLOAT32:
      return at::kFloat;
    case PublishModelRequest::BFLOAT16:
      return at::kBFloat16;
    case PublishModelRequest::FLOAT16:
      return at::kHalf;
    default:
      return InvalidField("precision", "must be one of the precisions");
  }
}

}  // namespace

StateDict EmaOf(const TrainingSnapshot& snapshot, size_t index) {
  const std::string prefix = absl::StrCat("ema.", index, ".");
  StateDict weights;
  for (const auto& [name, tensor] : snapshot.tensors) {
    if (name.starts_with(prefix)) weights[name.substr(prefix.size())] = tensor;
  }
  return weights;
}

absl::StatusOr<ModelHandle> ModelPublisher::Publish(const PublishModelRequest& request,
                                                    const LiveModels::IsCancelled& is_cancelled) {
  const auto model_id = ParseModelName(request.model());
  if (!model_id) return InvalidField("model", "must be \"models/\" and a model's name");
  const auto checkpoint = ParseCheckpointName(request.source());
  const auto job_id = checkpoint ? std::optional(checkpoint->job) : ParseJobName(request.source());
  if (!job_id) {
    return InvalidField("source", "must be \"trainingJobs/\" and a job's name, or a checkpoint's");
  }
  ASSIGN_OR_RETURN(const at::ScalarType dtype, DtypeOf(request.precision()));
  ASSIGN_OR_RETURN(const TrainingJob job, environment_.store->Get(*job_id));
  if (!job.has_training()) return NoCheckpoint(job);
  ASSIGN_OR_RETURN(const CheckpointReference source,
                   checkpoint ? absl::StatusOr<CheckpointReference>(*checkpoint)
                              : NewestCheckpoint(*job_id, job));
  ASSIGN_OR_RETURN(const size_t average, AverageOf(job.training(), request));
  ASSIGN_OR_RETURN(const TrainingSnapshot snapshot, LoadSnapshot(source, job));
  auto model = Install(*model_id, request.allow_replace(), source.job, EmaOf(snapshot, average),
                       dtype, is_cancelled);
  if (!model.ok()) return ErrorOfOurFiles(source.job, model.status());
  RecordPublication(source, **model);
  return model;
}

absl::StatusOr<ModelHandle> ModelPublisher::Install(
    const std::string& model_id, bool allow_replace, int64_t job, StateDict weights,
    at::ScalarType dtype, const LiveModels::IsCancelled& is_cancelled) const {
  ASSIGN_OR_RETURN(ParsedModel model, ParsedModel::Open(environment_.state->base_model(job)));
  // A new version takes over its name, so it is a replacement of what has that now.
  const std::string name(SplitModelId(model_id).first);
  for (const std::string& served : {model_id, name}) {
    const absl::StatusOr<ModelHandle> replaced = environment_.models->Find(served);
    if (replaced.ok() && !allow_replace) {
      RETURN_IF_ERROR(CheckReplaces(**replaced, InfoOf(model.description())));
    }
  }
  RETURN_IF_ERROR(
      CatchDeviceErrors([&] { return CheckOutput(model.description().unet, weights); }));
  model.SetWeights(std::move(weights));
  return environment_.live_models->Install(
      model_id, model.description(),
      [&](const std::filesystem::path& folder) {
        const absl::Status written = WriteModel(folder, model, dtype);
        return absl::IsResourceExhausted(written) ? DiskStatus(written) : written;
      },
      is_cancelled);
}

// Errors in the server's own files are not the caller's fault: Internal instead of InvalidArgument.
absl::Status ModelPublisher::ErrorOfOurFiles(int64_t job, const absl::Status& status) const {
  if (!absl::IsInvalidArgument(status) && !absl::IsNotFound(status)) return status;
  RETURN_IF_ERROR(environment_.store->Status(job).status());  // it may have been deleted
  return absl::InternalError(status.message());
}

void ModelPublisher::RecordPublication(const CheckpointReference& source,
                                       const Model& model) const {
  TrainingEvent event;
  event.mutable_published()->set_model(ModelName(model.id));
  event.mutable_published()->set_model_version(model.version);
  event.mutable_published()->set_step(source.step);
  const absl::Status recorded = environment_.store->AddEvent(source.job, std::move(event));
  if (recorded.ok() || environment_.observer == nullptr) return;
  environment_.observer->OnError("the publication of a model could not be recorded", recorded);
}

absl::StatusOr<CheckpointReference> ModelPublisher::NewestCheckpoint(int64_t id,
                                                                     const TrainingJob& job) const {
  ASSIGN_OR_RETURN(const std::vector<CheckpointFolder::Entry> entries, CheckpointsOf(id).List());
  if (entries.empty()) return NoCheckpoint(job);
  return CheckpointReference{id, entries.front().step};
}

absl::StatusOr<TrainingSnapshot> ModelPublisher::LoadSnapshot(const CheckpointReference& source,
                                                              const TrainingJob& job) const {
  const CheckpointFolder folder = CheckpointsOf(source.job);
  absl::StatusOr<TrainingSnapshot> snapshot = folder.Load(source.step);
  if (snapshot.ok()) return snapshot;
  ASSIGN_OR_RETURN(const std::vector<CheckpointFolder::Entry> entries, folder.List());
  if (entries.empty()) return NoCheckpoint(job);
  for (const CheckpointFolder::Entry& entry : entries) {
    if (entry.step == source.step) return snapshot.status();
  }
  return NoCheckpointOf(source.step, entries);  // perhaps removed while it was being read
}

}  // namespace denoise
