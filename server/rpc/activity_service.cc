#include "server/rpc/activity_service.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "proto/conversion/time_proto.h"
#include "server/requests/priority.h"
#include "server/rpc/event_stream.h"
#include "server/telemetry/log.h"

namespace denoise {

namespace v1 = denoised::v1;

namespace {

constexpr absl::Duration kDefaultInterval = absl::Milliseconds(250);
constexpr absl::Duration kMinInterval = absl::Milliseconds(50);
constexpr absl::Duration kMaxInterval = absl::Minutes(1);
constexpr size_t kMaxQueued = 100;

void AddQueue(const std::vector<QueuedRequest>& queue, v1::ActivitySnapshot& snapshot) {
  snapshot.set_queued(static_cast<int32_t>(queue.size()));
  for (const QueuedRequest& request : queue) {
    if (static_cast<size_t>(snapshot.queue_size()) == kMaxQueued) return;
    v1::QueuedGeneration& proto = *snapshot.add_queue();
    proto.set_generation(request.name);
    proto.set_model(request.model);
    proto.set_count(request.count);
    proto.set_steps(request.steps);
    *proto.mutable_create_time() = ToProto(request.submitted);
    proto.set_priority(ToProto(request.priority));
    if (request.expected_wait) *proto.mutable_expected_wait() = ToProto(*request.expected_wait);
  }
}

// Leaves out the names of what belongs to others; that there is something, everybody may see.
void NameFor(const Identity& viewer, std::string& name) {
  name = viewer.Sees(ParseFullName(name).tenant) ? denoise::NameFor(viewer, name) : "";
}

void NameAllFor(const Identity& viewer, v1::ActivitySnapshot& snapshot) {
  for (v1::DeviceActivity& device : *snapshot.mutable_devices()) {
    const OwnedName job = ParseFullName(device.training_job());
    device.set_training_job(viewer.Sees(job.tenant) ? job.name : "");
    for (v1::ActiveImage& image : *device.mutable_images()) {
      NameFor(viewer, *image.mutable_generation());
    }
  }
  for (v1::QueuedGeneration& queued : *snapshot.mutable_queue()) {
    NameFor(viewer, *queued.mutable_generation());
  }
}

// What the stream of a WatchActivity call reads.
class WatchActivitySource final : public EventSource<v1::ActivitySnapshot> {
 public:
  // `request` is gRPC's, and lives until the call is over.
  WatchActivitySource(const ActivityEnvironment& environment,
                      const v1::WatchActivityRequest& request, Call call)
      : environment_(environment), request_(request), call_(std::move(call)) {}

  absl::Status Start() override {
    ASSIGN_OR_RETURN(const absl::Duration interval, SnapshotInterval(request_));
    watcher_ = environment_.activity->Watch(interval, call_.wake);
    return absl::OkStatus();
  }

  absl::StatusOr<Outcome> Next() override {
    RETURN_IF_ERROR(environment_.calls.live_calls->CheckNotDraining());
    const auto snapshot = watcher_->Next([this](v1::ActivitySnapshot& next) {
      AddLimits(next);
      AddQueue(environment_.engine->Queue(), next);
      *next.mutable_outstanding_cost() = ToProto(environment_.engine->OutstandingCost());
    });
    if (!snapshot) return Wait();
    ++snapshots_;
    v1::ActivitySnapshot seen = *snapshot;
    NameAllFor(call_.caller, seen);
    return seen;
  }

  void OnEnd(const absl::Status& status) override {
    LogEvent(LevelOf(status), "watch finished",
             {{"request", call_.record->id()},
              {"trace_id", call_.record->trace_id()},
              {"code", absl::StatusCodeToString(status.code())},
              {"message", std::string(status.message())},
              {"events", snapshots_}});
  }

 private:
  void AddLimits(v1::ActivitySnapshot& snapshot) const {
    const Engine::Options& options = environment_.engine->options();
    snapshot.set_max_queued(options.queue_size);
    for (v1::DeviceActivity& device : *snapshot.mutable_devices()) {
      device.set_max_active_rows(options.max_active_rows);
      device.set_max_batch_rows(options.max_batch_rows);
    }
  }

  const ActivityEnvironment& environment_;
  const v1::WatchActivityRequest& request_;
  const Call call_;
  std::unique_ptr<Activity::Watcher> watcher_;
  int64_t snapshots_ = 0;
};

}  // namespace

absl::StatusOr<absl::Duration> SnapshotInterval(const v1::WatchActivityRequest& request) {
  if (!request.has_interval()) return kDefaultInterval;
  const int32_t nanos = request.interval().nanos();
  const absl::Duration interval =
      absl::Seconds(request.interval().seconds()) + absl::Nanoseconds(nanos);
  const bool is_valid = nanos >= 0 && nanos < 1'000'000'000;
  if (is_valid && interval >= kMinInterval && interval <= kMaxInterval) return interval;
  return InvalidField(
      "interval",
      absl::StrCat("must be between ", absl::FormatDuration(kMinInterval), " and ",
                   absl::FormatDuration(kMaxInterval), ", is ", absl::FormatDuration(interval)));
}

grpc::ServerWriteReactor<v1::ActivitySnapshot>* ActivityService::WatchActivity(
    grpc::CallbackServerContext* context, const v1::WatchActivityRequest* request) {
  return new EventStream<v1::ActivitySnapshot>(environment_.calls, context, [&](Call call) {
    return std::make_unique<WatchActivitySource>(environment_, *request, std::move(call));
  });
}

}  // namespace denoise
