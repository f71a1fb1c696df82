// The part that all jobs share while they run on a device.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "server/identity/identity.h"
#include "server/jobs/runs/run_end.h"
#include "server/jobs/runs/run_recorder.h"
#include "server/jobs/store/job_observer.h"
#include "server/jobs/store/resource_names.h"
#include "server/scheduling/device_task.h"

namespace denoise {

class RunTask : public DeviceTask {
 public:
  // `ended` is called once, on the device's thread, as soon as end() may be called. Everything
  // outlives the task; `observer` may be null.
  RunTask(RunRecorder* recorder, JobObserver* observer, std::function<void()> ended)
      : recorder_(recorder), observer_(observer), ended_(std::move(ended)) {}

  std::string name() const override {
    return FullName(recorder_->tenant(), JobName(recorder_->job()));
  }

  // Thread-safe; wake the task afterwards. kNone withdraws a request that has had no effect yet.
  void RequestStop(StopRequest request) { stop_.store(request); }

  // Catches LibTorch's exceptions.
  Outcome RunSlice() final;
  void OnFailed(const absl::Status& status) final;

  // May be called once `ended` was and the engine has let go of the task.
  const RunEnd& end() const { return *end_; }

 protected:
  virtual Outcome Work() = 0;  // one slice; may throw
  StopRequest stop_request() const { return stop_.load(); }

  Outcome End(RunEnd end);
  Outcome Fail(const absl::Status& status);  // after an error of the device or the data set

  RunRecorder* const recorder_;
  JobObserver* const observer_;

 private:
  const std::function<void()> ended_;
  std::atomic<StopRequest> stop_ = StopRequest::kNone;
  std::optional<RunEnd> end_;
};

}  // namespace denoise
