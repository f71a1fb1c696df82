#include "server/jobs/runs/run_resume.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/jobs/runs/run_end.h"
#include "server/jobs/runs/run_events.h"

namespace denoise {
namespace {

using denoised::v1::TrainingEvent;

absl::Status ReportCheckpoints(const RunHistory& history, const CheckpointFolder::Loaded& loaded) {
  for (const std::string& set_aside : loaded.set_aside) {
    TrainingEvent notice;
    notice.set_notice(absl::StrCat("a damaged checkpoint was set aside: ", set_aside));
    RETURN_IF_ERROR(history.store->AddEvent(history.job, std::move(notice)));
  }
  ASSIGN_OR_RETURN(const std::vector<CheckpointFolder::Entry> entries, history.checkpoints->List());
  for (const CheckpointFolder::Entry& entry : entries) {
    if (entry.step != loaded.snapshot.step) continue;
    return history.store->AddEvent(history.job,
                                   CheckpointEvent(history.job, entry, history.ema_decays));
  }
  return absl::InternalError("a checkpoint is missing after it was read");
}

// `missing` says why there is no checkpoint.
absl::Status StartOver(const RunHistory& history, const absl::Status& missing) {
  ASSIGN_OR_RETURN(const denoised::v1::TrainingJob job, history.store->Get(history.job));
  if (job.latest_checkpoint().empty()) return absl::OkStatus();
  TrainingEvent notice;
  notice.set_notice(absl::StrCat("the job starts over: ", missing.message()));
  RETURN_IF_ERROR(history.store->AddEvent(history.job, std::move(notice)));
  return history.store->SetLatestCheckpoint(history.job, std::nullopt);
}

absl::StatusOr<Due> FindWritten(const RunHistory& history, int64_t step) {
  ASSIGN_OR_RETURN(const auto grid,
                   history.store->FindEvent(history.job, TrainingEvent::kSampleGrid, step));
  ASSIGN_OR_RETURN(const auto evaluation,
                   history.store->FindEvent(history.job, TrainingEvent::kEvaluation, step));
  return Due{.progress = true,
             .grid = grid.has_value(),
             .evaluation = evaluation.has_value(),
             .checkpoint = true};
}

}  // namespace

absl::StatusOr<Due> ResumeRun(const RunHistory& history, Trainer& trainer, RunProgress& progress) {
  absl::StatusOr<CheckpointFolder::Loaded> loaded = history.checkpoints->LoadNewest();
  if (absl::IsNotFound(loaded.status())) {
    RETURN_IF_ERROR(StartOver(history, loaded.status()));
    return Due();
  }
  RETURN_IF_ERROR(loaded.status());
  RETURN_IF_ERROR(ReportCheckpoints(history, *loaded));
  TrainingSnapshot& snapshot = loaded->snapshot;
  ASSIGN_OR_RETURN(snapshot.state, progress.Decode(snapshot.state));
  RETURN_IF_ERROR(DeviceStatus(trainer.Restore(snapshot)));
  return FindWritten(history, snapshot.step);
}

}  // namespace denoise
