// The instruments and log lines of training.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <string>
#include <string_view>

#include "server/jobs/store/job_observer.h"

namespace denoise {

// Thread-safe; nothing here blocks. Outlives jobs and data sets.
class TrainingTelemetry final : public JobObserver {
 public:
  explicit TrainingTelemetry(prometheus::Registry& registry);

  void OnJobState(const std::string& job, denoised::v1::TrainingJob::State state,
                  const std::string& reason) override;
  void OnRunningJobs(int jobs) override;
  void OnTrainingStep(int pictures, absl::Duration device_time) override;
  void OnRecovery(std::string_view what, std::string_view item, std::string_view reason) override;
  void OnError(std::string_view what, const absl::Status& status) override;

 private:
  prometheus::Family<prometheus::Counter>& job_states_;
  prometheus::Gauge& running_jobs_;
  prometheus::Counter& steps_;
  prometheus::Counter& pictures_;
  prometheus::Counter& step_seconds_;
};

}  // namespace denoise
