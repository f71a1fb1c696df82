// What all jobs are while they run on a device.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "server/jobs/runs/run_end.h"
#include "server/jobs/runs/run_recorder.h"
#include "server/jobs/store/job_observer.h"
#include "server/scheduling/device_task.h"

namespace denoise {

class RunTask : public DeviceTask {
 public:
  // `ended` is called once, from the device's thread, when end() is there. Everything outlives the
  // task; `observer` may be null.
  RunTask(RunRecorder* recorder, JobObserver* observer, std::function<void()> ended)
      : recorder_(recorder), observer_(observer), ended_(std::move(ended)) {}

  // Thread-safe; wake the task afterwards. kNone takes back a request that was not honoured yet.
  void RequestStop(StopRequest request) { stop_.store(request); }

  // LibTorch's exceptions end here.
  Outcome RunSlice() final;
  void OnFailed(const absl::Status& status) final;

  // Once `ended` was called.
  const RunEnd& end() const { return *end_; }

 protected:
  virtual Outcome Turn() = 0;
  StopRequest stop_request() const { return stop_.load(); }

  Outcome End(RunEnd end);
  Outcome Fail(const absl::Status& status);  // of the device's work

  RunRecorder* const recorder_;
  JobObserver* const observer_;

 private:
  const std::function<void()> ended_;
  std::atomic<StopRequest> stop_ = StopRequest::kNone;
  std::optional<RunEnd> end_;
};

}  // namespace denoise
