#include "server/jobs/job_recovery.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include "core/base/file_system_error.h"
#include "core/base/status_macros.h"
#include "core/files/atomic_file.h"
#include "core/files/folders.h"
#include "core/train/checkpoint_folder.h"
#include "server/jobs/runs/run_events.h"
#include "server/jobs/store/columns.h"
#include "server/jobs/store/files.h"
#include "server/jobs/store/id_folders.h"
#include "server/jobs/store/resource_names.h"
#include "server/jobs/store/state_manifest.h"

namespace denoise {
namespace {

using denoised::v1::TrainingEvent;
using denoised::v1::TrainingJob;
namespace fs = std::filesystem;

// nullopt: it is not the manifest of a job.
std::optional<TrainingJob> JobOf(const std::optional<StateManifest>& manifest) {
  TrainingJob job;
  if (!manifest || manifest->kind != StateManifest::Kind::kTrainingJob ||
      !job.ParseFromString(manifest->resource) || job.work_case() == TrainingJob::WORK_NOT_SET) {
    return std::nullopt;
  }
  return job;
}

class Recovery {
 public:
  Recovery(JobStore& store, const StateDir& state, SetAside& set_aside)
      : store_(store), state_(state), set_aside_(set_aside) {}

  absl::Status Run();

 private:
  absl::Status FinishRemoval(int64_t id);
  absl::Status RecoverFolder(int64_t id);
  void BackFill(int64_t id, const TrainingJob& job);
  absl::Status Adopt(int64_t id, TrainingJob job, StateManifest manifest);
  absl::StatusOr<std::vector<TrainingEvent>> Checkpoints(int64_t id, const TrainingJob& job) const;
  // What the database has about a job, as it was created; nullopt where there is none.
  absl::StatusOr<std::optional<TrainingJob>> Known(int64_t id) const;

  JobStore& store_;
  const StateDir& state_;
  SetAside& set_aside_;
};

absl::Status Recovery::Run() {
  ASSIGN_OR_RETURN(const IdFolders found, ListIdFolders(state_.jobs()));
  for (const int64_t id : found.removed) RETURN_IF_ERROR(FinishRemoval(id));
  for (const int64_t id : found.creating) {
    RETURN_IF_ERROR(DiskStatus(RemoveTree(CreatingPath(state_.jobs(), id))));
  }
  for (const fs::path& path : found.others) {
    RETURN_IF_ERROR(set_aside_.Move(path, "its name is not that of a job's folder"));
  }
  for (const int64_t id : found.ids) RETURN_IF_ERROR(RecoverFolder(id));
  return absl::OkStatus();
}

absl::StatusOr<std::optional<TrainingJob>> Recovery::Known(int64_t id) const {
  auto job = store_.GetCreated(id);
  if (absl::IsNotFound(job.status())) return std::nullopt;
  RETURN_IF_ERROR(job.status());
  return *std::move(job);
}

// Only a job that is over is deleted: a row that says otherwise is of another database.
absl::Status Recovery::FinishRemoval(int64_t id) {
  ASSIGN_OR_RETURN(const auto manifest, ReadStateManifest(RemovedPath(state_.jobs(), id)));
  const auto removed = JobOf(manifest);
  RETURN_IF_ERROR(EmptyRemoved(state_.jobs(), id));
  ASSIGN_OR_RETURN(const auto known, Known(id));
  ASSIGN_OR_RETURN(const bool is_used, IsThere(state_.job(id)));
  const bool is_rows =
      known && !is_used &&
      (!removed || google::protobuf::util::MessageDifferencer::Equals(*known, *removed));
  if (is_rows) {
    const absl::Status deleted = store_.Delete(id);
    if (absl::IsResourceExhausted(deleted)) return absl::OkStatus();  // at a later start
    if (!absl::IsFailedPrecondition(deleted)) RETURN_IF_ERROR(deleted);
    set_aside_.Report("deletion finished", JobName(id), "it was under way");
  }
  return ForgetRemoved(state_.jobs(), id);
}

absl::Status Recovery::RecoverFolder(int64_t id) {
  ASSIGN_OR_RETURN(auto manifest, ReadStateManifest(state_.job(id)));
  auto described = JobOf(manifest);
  ASSIGN_OR_RETURN(const auto known, Known(id));
  if (known &&
      (!described || google::protobuf::util::MessageDifferencer::Equals(*known, *described))) {
    if (!described) BackFill(id, *known);
    return absl::OkStatus();
  }
  if (described) return Adopt(id, *std::move(described), *std::move(manifest));
  return set_aside_.Move(state_.job(id), "the database does not know it, and it has no manifest");
}

// For jobs that an earlier version has made.
void Recovery::BackFill(int64_t id, const TrainingJob& job) {
  const auto now = store_.Get(id);
  if (!now.ok()) return;
  const StateManifest manifest = {
      .kind = StateManifest::Kind::kTrainingJob,
      .name = JobName(id),
      .create_time = TimeOf(now->create_time()),
      .resource = job.SerializeAsString(),
      .data_set = job.has_training() ? job.training().dataset() : job.evaluation().dataset()};
  WriteStateManifest(state_.job(id), manifest).IgnoreError();
}

// The folder gets its name first: without a row it is found again by its manifest.
absl::Status Recovery::Adopt(int64_t id, TrainingJob job, StateManifest manifest) {
  ASSIGN_OR_RETURN(const bool is_taken, store_.Exists(id));
  int64_t new_id = id;
  if (is_taken) {
    ASSIGN_OR_RETURN(new_id, store_.ReserveId());
    manifest.name = JobName(new_id);
    RETURN_IF_ERROR(WriteStateManifest(state_.job(id), manifest));
    if (std::rename(state_.job(id).c_str(), state_.job(new_id).c_str()) != 0) {
      return DiskStatus(FileSystemError(errno, "a job cannot be moved"));
    }
    RETURN_IF_ERROR(DiskStatus(SyncFolder(state_.jobs())));
  }
  ASSIGN_OR_RETURN(std::vector<TrainingEvent> checkpoints, Checkpoints(new_id, job));
  RETURN_IF_ERROR(store_.Adopt({.id = new_id,
                                .request_id = manifest.request_id,
                                .request_hash = manifest.request_hash,
                                .checkpoints = std::move(checkpoints),
                                .job = std::move(job),
                                .data_set = manifest.data_set,
                                .create_time = manifest.create_time}));
  set_aside_.Report("taken up again", JobName(new_id), "the database did not know it");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TrainingEvent>> Recovery::Checkpoints(int64_t id,
                                                                 const TrainingJob& job) const {
  const auto& decays = job.training().ema_decays();
  const auto entries = CheckpointFolder::ForReading(state_.checkpoints(id)).List();
  RETURN_IF_ERROR(DiskStatus(entries.status()));
  std::vector<TrainingEvent> events;
  for (const CheckpointFolder::Entry& entry : *entries) {
    events.push_back(CheckpointEvent(id, entry, {decays.begin(), decays.end()}));
  }
  std::reverse(events.begin(), events.end());
  return events;
}

}  // namespace

absl::Status RecoverJobs(JobStore& store, const StateDir& state, SetAside& set_aside) {
  return Recovery(store, state, set_aside).Run();
}

}  // namespace denoise
