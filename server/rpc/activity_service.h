// denoised.v1.Activity.
#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "denoised/v1/activity.grpc.pb.h"
#include "server/engine/engine.h"
#include "server/rpc/call.h"
#include "server/telemetry/activity.h"

namespace denoise {

// Outlives the calls.
struct ActivityEnvironment {
  CallEnvironment calls;
  Activity* activity;
  const Engine* engine;
};

// Thread-safe. Outlives the gRPC server; what `environment` names outlives it.
class ActivityService final : public denoised::v1::Activity::CallbackService {
 public:
  explicit ActivityService(const ActivityEnvironment& environment) : environment_(environment) {}

  grpc::ServerWriteReactor<denoised::v1::ActivitySnapshot>* WatchActivity(
      grpc::CallbackServerContext* context,
      const denoised::v1::WatchActivityRequest* request) override;

 private:
  const ActivityEnvironment environment_;
};

// The least time between two snapshots. InvalidArgument names the field.
absl::StatusOr<absl::Duration> SnapshotInterval(const denoised::v1::WatchActivityRequest& request);

}  // namespace denoise
