// Receives reports of jobs and data sets, for the log and the metrics.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "denoised/v1/training.pb.h"

namespace denoise {

struct TrainedStep {
  int pictures = 0;
  absl::Duration device_time;
  double loss = 0;
};

// Called from many threads; must not block.
class JobObserver {
 public:
  virtual ~JobObserver() = default;
  virtual void OnJobState(const std::string& job, denoised::v1::TrainingJob::State state,
                          const std::string& reason) = 0;
  virtual void OnRunningJobs(int jobs) = 0;
  // One optimizer step of a job ("trainingJobs/17").
  virtual void OnTrainingStep(const std::string& job, const TrainedStep& step) = 0;
  // Other ranks can join at this port.
  virtual void OnRendezvous(int /*port*/) {}
  // The job trains with so many ranks from now on, this server among them; 0: it waits for them.
  virtual void OnRanks(const std::string& /*job*/, int /*ranks*/) {}
  // A rank that trained the job was lost; the job continues from its last checkpoint.
  virtual void OnRankLost(const std::string& /*job*/, const absl::Status& /*reason*/) {}
  // What the server did, when it started, about something in its state folder that its database
  // does not know or describe as it is. For the operator.
  virtual void OnRecovery(std::string_view /*what*/, std::string_view /*item*/,
                          std::string_view /*reason*/) {}
  // An error of which callers do not get the details; `status` is for the log.
  virtual void OnError(std::string_view what, const absl::Status& status) = 0;
};

}  // namespace denoise
