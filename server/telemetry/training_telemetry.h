// The instruments and log lines of training.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <map>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "core/base/mutex.h"
#include "server/jobs/store/job_observer.h"

namespace denoise {

// Thread-safe; nothing here blocks. Outlives jobs and data sets.
class TrainingTelemetry final : public JobObserver {
 public:
  explicit TrainingTelemetry(prometheus::Registry& registry);

  void OnJobState(const std::string& job, denoised::v1::TrainingJob::State state,
                  const std::string& reason) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnRunningJobs(int jobs) override;
  void OnTrainingStep(const std::string& job, const TrainedStep& step) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  void OnRecovery(std::string_view what, std::string_view item, std::string_view reason) override;
  void OnError(std::string_view what, const absl::Status& status) override;

 private:
  void ForgetLoss(const std::string& job) ABSL_LOCKS_EXCLUDED(mutex_);

  prometheus::Family<prometheus::Counter>& job_states_;
  prometheus::Gauge& running_jobs_;
  prometheus::Counter& steps_;
  prometheus::Counter& pictures_;
  prometheus::Counter& step_seconds_;
  prometheus::Family<prometheus::Gauge>& loss_;

  Mutex mutex_;
  // Of jobs that run: series of jobs that are over would stay for ever.
  std::map<std::string, prometheus::Gauge*> losses_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise
