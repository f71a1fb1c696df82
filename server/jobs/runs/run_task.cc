#include "server/jobs/runs/run_task.h"

#include <exception>

#include "core/diffusion/device_errors.h"

namespace denoise {

DeviceTask::Outcome RunTask::RunSlice() {
  const absl::Status written = recorder_->status();
  if (!written.ok()) return End(EndOfWriting(written));
  try {
    return Work();
  } catch (const std::exception& error) {
    return Fail(DeviceError(error));
  }
}

// Kernels may fail after the run has ended; that does not change how it ended. But a run that has
// failed has done so for another reason than it knew if its device turns out to have failed.
void RunTask::OnFailed(const absl::Status& status) {
  if (!end_) {
    Fail(status);
    return;
  }
  const RunEnd end = EndOfWork(status);
  if (end_->kind == RunEnd::Kind::kFailed && end.kind == RunEnd::Kind::kDevice) end_ = end;
}

DeviceTask::Outcome RunTask::Fail(const absl::Status& status) {
  const RunEnd end = EndOfWork(status);
  if (observer_ != nullptr && end.kind == RunEnd::Kind::kRanks) {
    observer_->OnRankLost(name(), status);
  } else if (observer_ != nullptr) {
    observer_->OnError("a job failed", status);
  }
  return End(end);
}

DeviceTask::Outcome RunTask::End(RunEnd end) {
  end_ = std::move(end);
  ended_();
  return Outcome::kDone;
}

}  // namespace denoise
