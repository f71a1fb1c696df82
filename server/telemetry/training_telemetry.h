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
  void OnRendezvous(int port) override;
  void OnRanks(const std::string& job, int ranks) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnRankLost(const std::string& job, const absl::Status& reason) override;
  void OnRecovery(std::string_view what, std::string_view item, std::string_view reason) override;
  void OnError(std::string_view what, const absl::Status& status) override;

 private:
  void Forget(const std::string& job) ABSL_LOCKS_EXCLUDED(mutex_);

  prometheus::Family<prometheus::Counter>& job_states_;
  prometheus::Gauge& running_jobs_;
  prometheus::Counter& steps_;
  prometheus::Counter& pictures_;
  prometheus::Counter& step_seconds_;
  prometheus::Family<prometheus::Gauge>& loss_;
  prometheus::Family<prometheus::Gauge>& ranks_;

  Mutex mutex_;
  // Of jobs that run: series of jobs that are over would stay for ever.
  struct Gauges {
    prometheus::Gauge* loss = nullptr;
    prometheus::Gauge* ranks = nullptr;
  };
  std::map<std::string, Gauges> gauges_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise
