#include "client/bench/generate_call.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "client/proto_duration.h"
#include "client/status_from_grpc.h"
#include "core/base/thread_order.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

// Of the network's batch, that an image takes: one for each class, and one more for guidance.
int RowsOf(const v1::Accepted& accepted) {
  const bool guided = accepted.has_guidance() && accepted.guidance().scale() != 1;
  return std::max(1, accepted.class_weights_size()) + (guided ? 1 : 0);
}

}  // namespace

GenerateCall::GenerateCall(const LoadRequest& load, std::string peer, CallOutcome outcome)
    : load_(load), peer_(std::move(peer)), outcome_(std::move(outcome)) {}

void GenerateCall::Start(v1::ImageGeneration::Stub& stub, std::function<void(CallOutcome)> on_end) {
  on_end_ = std::move(on_end);
  stub.async()->Generate(&context_, &load_.request, this);
  AddHold();  // a pause is no operation that gRPC knows of
  StartNextRead();
  StartCall();
}

void GenerateCall::Cancel() {
  context_.TryCancel();
  const MutexLock lock(mutex_);
  cancelled_ = true;
  if (alarm_) alarm_->Cancel();
}

void GenerateCall::OnReadDone(bool ok) {
  AfterHandOver(this);
  if (!ok) {
    BeforeHandOver(this);
    return RemoveHold();
  }
  Record(event_);
  if (!load_.pace.slow()) return StartNextRead();
  ReadAfter(load_.pace.PauseAfter(event_.ByteSizeLong()));
}

void GenerateCall::StartNextRead() {
  BeforeHandOver(this);
  StartRead(&event_);
}

void GenerateCall::ReadAfter(absl::Duration pause) {
  BeforeHandOver(this);
  const MutexLock lock(mutex_);
  if (cancelled_) pause = absl::ZeroDuration();
  alarm_.emplace();
  alarm_->Set(absl::ToChronoTime(absl::Now() + pause), [this](bool) { StartRead(&event_); });
}

void GenerateCall::Record(const v1::GenerateEvent& event) {
  if (event.has_accepted()) return RecordAccepted(event.accepted());
  if (event.has_started()) outcome_.queue_wait = ToDuration(event.started().queue_wait());
  if (event.has_image()) ++outcome_.images;
  if (event.has_finished()) outcome_.frames_dropped = event.finished().frames_dropped();
  if (event.has_frame() && outcome_.frames++ == 0) {
    outcome_.first_frame = absl::Now() - outcome_.arrival;
  }
  if (event.has_progress() && event.progress().steps_total() > 0) {
    outcome_.row_evaluations =
        rows_times_evaluations_ * event.progress().steps_done() / event.progress().steps_total();
  }
}

void GenerateCall::RecordAccepted(const v1::Accepted& accepted) {
  rows_times_evaluations_ =
      static_cast<double>(accepted.count()) * accepted.evaluations() * RowsOf(accepted);
  outcome_.steps_left_out = std::max(0, accepted.steps_requested() - accepted.steps());
}

void GenerateCall::OnDone(const grpc::Status& status) {
  AfterHandOver(this);
  outcome_.end = absl::Now();
  outcome_.status = StatusFromGrpc(status, peer_);
  if (status.ok()) outcome_.row_evaluations = rows_times_evaluations_;
  on_end_(std::move(outcome_));
}

}  // namespace denoise
