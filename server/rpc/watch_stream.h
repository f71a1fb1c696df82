// One WatchTrainingJob call.
#pragma once

#include <cstdint>
#include <memory>

#include "denoised/v1/training.pb.h"
#include "server/jobs/training_jobs.h"
#include "server/rpc/turn_stream.h"

namespace denoise {

class WatchStream final : public TurnStream<denoised::v1::TrainingEvent> {
 public:
  // `context` and `request` are gRPC's, and live until OnDone.
  WatchStream(const TurnEnvironment& environment, grpc::CallbackServerContext* context,
              TrainingJobs* jobs, const denoised::v1::WatchTrainingJobRequest* request);

 private:
  absl::StatusOr<Outcome> TakeTurn() override;
  void OnEnd(const absl::Status& status) override;
  void OnRelease() override { watcher_.reset(); }

  LiveCalls* const live_calls_;
  TrainingJobs* const jobs_;
  const denoised::v1::WatchTrainingJobRequest* const request_;
  std::unique_ptr<TrainingJobs::Watcher> watcher_;  // made by the first turn
  int64_t events_ = 0;
};

}  // namespace denoise
