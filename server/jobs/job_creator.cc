#include "server/jobs/job_creator.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <random>
#include <string_view>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"
#include "core/files/folders.h"
#include "core/io/model_writer.h"
#include "core/nn/unet2d.h"
#include "server/jobs/settings/evaluation_settings.h"
#include "server/jobs/settings/new_network.h"
#include "server/jobs/settings/training_settings.h"
#include "server/jobs/store/files.h"
#include "server/jobs/store/id_folders.h"
#include "server/jobs/store/resource_names.h"
#include "server/jobs/store/state_manifest.h"
#include "server/models/model_loader.h"

namespace denoise {
namespace {

using denoised::v1::CreateTrainingJobRequest;
using denoised::v1::TrainingJob;

constexpr size_t kMaxTextBytes = 128;
constexpr int kMaxLabels = 64;

// For requests without a seed. 32 bits, so that people can type it.
uint64_t ChooseSeed() { return std::random_device()(); }

// Equal requests have equal hashes: the entries of maps are serialised in order.
std::string HashOf(const CreateTrainingJobRequest& request) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    request.SerializeToCodedStream(&coded);
  }
  Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

absl::Status CheckRequest(const CreateTrainingJobRequest& request) {
  FieldViolations violations;
  if (request.request_id().size() > kMaxTextBytes) {
    violations.Add("request_id", absl::StrCat("must have at most ", kMaxTextBytes, " bytes"));
  }
  if (request.work_case() == CreateTrainingJobRequest::WORK_NOT_SET) {
    violations.Add("work", "must be training or evaluation");
  }
  if (request.labels_size() > kMaxLabels) {
    violations.Add("labels",
                   absl::StrCat("must be at most ", kMaxLabels, ", is ", request.labels_size()));
  }
  for (const auto& [key, value] : request.labels()) {
    if (key.empty() || key.size() > kMaxTextBytes || value.size() > kMaxTextBytes) {
      violations.Add("labels", absl::StrCat("keys must have 1 to ", kMaxTextBytes,
                                            " bytes, values at most ", kMaxTextBytes));
      break;
    }
  }
  return violations.ToStatus();
}

// `status` of a part of the request, with its fields named from the whole request.
absl::Status Within(std::string_view prefix, const absl::Status& status) {
  if (GetFieldViolations(status).empty()) return status;
  FieldViolations violations;
  violations.AddAll(prefix, status);
  return violations.ToStatus();
}

}  // namespace

absl::StatusOr<TrainingJob> JobCreator::Create(const CreateTrainingJobRequest& request,
                                               const Identity& caller) {
  RETURN_IF_ERROR(CheckRequest(request));
  const std::string hash = HashOf(request);
  const auto find_request = [&] {
    return environment_.store->FindRequest(caller.tenant, request.request_id(), hash);
  };
  ASSIGN_OR_RETURN(auto existing, find_request());
  if (existing) return *std::move(existing);
  RETURN_IF_ERROR(environment_.store->CheckRoom(environment_.max_waiting_jobs));
  ASSIGN_OR_RETURN(const Prepared prepared, Prepare(request, caller));
  ASSIGN_OR_RETURN(const int64_t id, environment_.store->ReserveId());
  const std::filesystem::path jobs = environment_.state->jobs();
  absl::Cleanup remove = [&] {
    RemoveTree(CreatingPath(jobs, id)).IgnoreError();
    RemoveTree(environment_.state->job(id)).IgnoreError();
  };
  RETURN_IF_ERROR(WriteFolder(id, request, hash, prepared));
  RETURN_IF_ERROR(FinishCreating(jobs, id));
  auto created = environment_.store->Create({.id = id,
                                             .request_id = request.request_id(),
                                             .request_hash = hash,
                                             .job = prepared.job,
                                             .data_sets = {prepared.data_set},
                                             .max_waiting = environment_.max_waiting_jobs});
  if (created.ok()) std::move(remove).Cancel();
  if (!absl::IsAlreadyExists(created.status())) return created;
  // Another call with the same request_id has created it meanwhile.
  ASSIGN_OR_RETURN(existing, find_request());
  if (!existing) return created.status();
  return *std::move(existing);
}

absl::StatusOr<JobCreator::Prepared> JobCreator::Prepare(const CreateTrainingJobRequest& request,
                                                         const Identity& caller) const {
  TrainingJob job;
  job.set_tenant(caller.tenant);
  job.set_priority(request.priority());
  *job.mutable_labels() = request.labels();
  if (request.has_training()) {
    *job.mutable_training() = request.training();
    absl::StatusOr<Prepared> prepared = PrepareTraining(std::move(job), caller);
    if (!prepared.ok()) return Within("training.", prepared.status());
    return prepared;
  }
  *job.mutable_evaluation() = request.evaluation();
  absl::StatusOr<Prepared> prepared = PrepareEvaluation(std::move(job), caller);
  if (!prepared.ok()) return Within("evaluation.", prepared.status());
  return prepared;
}

absl::StatusOr<JobCreator::Prepared> JobCreator::PrepareTraining(TrainingJob job,
                                                                 const Identity& caller) const {
  auto& settings = *job.mutable_training();
  ASSIGN_OR_RETURN(const DataSetStore::Stored data,
                   FindDataSet("dataset", settings.dataset(), caller));
  settings.set_dataset(data.data_set.name());
  if (!settings.has_seed()) settings.set_seed(ChooseSeed());
  if (settings.base_case() == denoised::v1::TrainingSettings::BASE_NOT_SET) {
    return InvalidField("base", "must be base_model or new_network");
  }
  ASSIGN_OR_RETURN(ParsedModel base, MakeBase(settings, data.data_set));
  const ModelInfo model = InfoOf(base.description());
  const SettingsContext context = ContextOf(model, data.data_set, settings.seed());
  ASSIGN_OR_RETURN(settings, ResolveTraining(settings, context));
  job.set_steps_total(settings.max_steps());
  return Prepared{.job = std::move(job), .data_set = data.id, .base = std::move(base)};
}

absl::StatusOr<ParsedModel> JobCreator::MakeBase(denoised::v1::TrainingSettings& settings,
                                                 const denoised::v1::Dataset& data_set) const {
  if (settings.has_base_model()) {
    ASSIGN_OR_RETURN(ParsedModel base, OpenServedModel("base_model", settings.base_model()));
    const absl::Status trainable = CheckTrainable(base.description().unet);
    if (!trainable.ok()) return InvalidField("base_model", std::string(trainable.message()));
    return base;
  }
  auto base = MakeNewModel(*settings.mutable_new_network(), data_set, settings.seed());
  if (!base.ok()) return Within("new_network.", base.status());
  return base;
}

absl::StatusOr<JobCreator::Prepared> JobCreator::PrepareEvaluation(TrainingJob job,
                                                                   const Identity& caller) const {
  auto& settings = *job.mutable_evaluation();
  ASSIGN_OR_RETURN(const DataSetStore::Stored data,
                   FindDataSet("dataset", settings.dataset(), caller));
  settings.set_dataset(data.data_set.name());
  ASSIGN_OR_RETURN(ParsedModel base, OpenServedModel("model", settings.model()));
  const ModelInfo model = InfoOf(base.description());
  const SettingsContext context = ContextOf(model, data.data_set, ChooseSeed());
  ASSIGN_OR_RETURN(settings, ResolveEvaluation(settings, context));
  job.set_steps_total(EvaluationPictures(settings, data.data_set.report().pictures()));
  return Prepared{.job = std::move(job), .data_set = data.id, .base = std::move(base)};
}

SettingsContext JobCreator::ContextOf(const ModelInfo& model, const denoised::v1::Dataset& data_set,
                                      uint64_t seed) const {
  return {.model = model,
          .data_set = data_set,
          .device = environment_.engine->options().devices.front().type(),
          .has_inception = environment_.has_inception,
          .seed = seed,
          .max_sampler_steps = environment_.max_sampler_steps,
          .max_micro_batch_pixels = environment_.max_micro_batch_pixels};
}

absl::StatusOr<DataSetStore::Stored> JobCreator::FindDataSet(std::string_view field,
                                                             const std::string& name,
                                                             const Identity& caller) const {
  if (!ParseDataSetName(OwnedNameFrom(caller, name).name)) {
    return InvalidField(field, "must be \"datasets/\" and a data set's name");
  }
  return environment_.data_sets->FindReady(name, caller);
}

absl::StatusOr<ParsedModel> JobCreator::OpenServedModel(std::string_view field,
                                                        const std::string& name) const {
  const auto model_id = ParseModelName(name);
  if (!model_id) return InvalidField(field, "must be \"models/\" and a model's name");
  ASSIGN_OR_RETURN(const ModelHandle model, environment_.models->Find(*model_id));
  return environment_.live_models->Open(model->id);
}

absl::Status JobCreator::WriteFolder(int64_t id, const CreateTrainingJobRequest& request,
                                     const std::string& hash, const Prepared& prepared) const {
  const std::filesystem::path folder = CreatingPath(environment_.state->jobs(), id);
  RETURN_IF_ERROR(DiskStatus(MakeFolder(folder, 0700)));
  RETURN_IF_ERROR(DiskStatus(
      WriteModel(folder / environment_.state->base_model(id).filename(), prepared.base)));
  return WriteManifest(id, request, hash, prepared.job);
}

absl::Status JobCreator::WriteManifest(int64_t id, const CreateTrainingJobRequest& request,
                                       const std::string& hash, const TrainingJob& job) const {
  const std::string& data_set =
      job.has_training() ? job.training().dataset() : job.evaluation().dataset();
  return WriteStateManifest(CreatingPath(environment_.state->jobs(), id),
                            {.kind = StateManifest::Kind::kTrainingJob,
                             .name = JobName(id),
                             .create_time = environment_.clock->Now(),
                             .resource = job.SerializeAsString(),
                             .request_id = request.request_id(),
                             .request_hash = hash,
                             .data_set = data_set});
}

}  // namespace denoise
