#include "server/rpc/generate_reactor.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/base/thread_order.h"
#include "server/requests/seed.h"
#include "server/requests/start_validation.h"
#include "server/rpc/call_end.h"
#include "server/rpc/request_id.h"
#include "server/rpc/status_mapping.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

absl::Status CallerGone() { return absl::CancelledError("the caller has gone"); }

int StepsTotal(const ResolvedRequest& resolved) {
  const int64_t steps = int64_t{resolved.accepted.steps()} * resolved.generation.count;
  return static_cast<int>(std::min<int64_t>(steps, std::numeric_limits<int>::max()));
}

// The most that a call can hold: its images, as many frames as its outbox keeps, the picture that
// is on its way, the samples that it starts from and keeps, and what every call takes.
int64_t MostBytesHeld(const ResolvedRequest& resolved, const Outbox::Limits& limits) {
  const int64_t sample_bytes = SampleBytes(resolved.model->spec);
  int64_t frame_bytes = 0;
  if (resolved.generation.frames.every_n_steps > 0) {
    const int64_t kinds = static_cast<int64_t>(resolved.generation.frames.kinds.size());
    const int64_t frames = std::min<int64_t>(limits.frames, kinds * StepsTotal(resolved));
    frame_bytes = std::max(sample_bytes, std::min(frames * sample_bytes, limits.frame_bytes));
  }
  constexpr int kMostInputs = 4;
  return kCallBytes + (resolved.generation.count + 1 + kMostInputs) * sample_bytes + frame_bytes;
}

}  // namespace

GenerateReactor::GenerateReactor(const GenerateEnvironment& environment,
                                 grpc::CallbackServerContext* context,
                                 const denoised::v1::GenerateRequest& request)
    : environment_(environment),
      context_(context),
      request_id_(NewRequestId()),
      model_(request.model()),
      arrival_(environment.clock->Now()) {
  environment_.live_calls->Add();
  absl::Status status = environment_.live_calls->Admit();
  if (status.ok()) status = BringsSamples(request) ? StartLater(request) : Start(request);
  if (!status.ok()) EndStream(status, {});
  BeforeHandOver(this);
}

// The pool is at work on the request until it is accepted or refused; gRPC keeps it until then.
absl::Status GenerateReactor::StartLater(const denoised::v1::GenerateRequest& request) {
  ASSIGN_OR_RETURN(reservation_,
                   environment_.samples->Reserve(static_cast<int64_t>(request.ByteSizeLong())));
  environment_.pool->Schedule([this, &request] {
    const absl::Status status = StartOnPool(request);
    if (!status.ok()) EndStream(status, {});  // else the call may be over already
  });
  return absl::OkStatus();
}

// Whoever has gone meanwhile costs no more than having waited.
absl::Status GenerateReactor::StartOnPool(const denoised::v1::GenerateRequest& request) {
  try {
    const absl::Status status = Cancelled() ? CallerGone() : Start(request);
    return WithDeadline(status, DeadlineOf(*context_), environment_.clock->Now());
  } catch (const std::exception& error) {  // LibTorch's, or memory ran out
    return absl::InternalError(absl::StrCat("cannot start: ", error.what()));
  }
}

bool GenerateReactor::Cancelled() const {
  const MutexLock lock(mutex_);
  return cancelled_;
}

// From here on the stream hears of a cancelled call; one that is cancelled by now ends at once.
absl::Status GenerateReactor::Adopt(std::shared_ptr<EventStream> stream) {
  const MutexLock lock(mutex_);
  if (cancelled_) return CallerGone();
  stream_ = std::move(stream);
  return absl::OkStatus();
}

std::shared_ptr<EventStream> GenerateReactor::stream() const {
  const MutexLock lock(mutex_);
  return stream_;
}

absl::Status GenerateReactor::Start(const denoised::v1::GenerateRequest& request) {
  ASSIGN_OR_RETURN(ResolvedRequest resolved, ResolveRequest(request, *environment_.models,
                                                            environment_.limits, ChooseSeed()));
  GenerationRequest& generation = resolved.generation;
  generation.deadline = DeadlineOf(*context_);
  const EventStream::Options options = {.image_encoding = resolved.image_encoding,
                                        .frame_encoding = resolved.frame_encoding,
                                        .frame_bytes_max = resolved.frame_bytes_max,
                                        .steps_total = StepsTotal(resolved),
                                        .arrival = arrival_,
                                        .deadline = generation.deadline,
                                        .write_time_max = environment_.write_time_max,
                                        .outbox = {}};
  reservation_ = {};  // what was held for the request alone must not stand in its own way
  ASSIGN_OR_RETURN(reservation_,
                   environment_.samples->Reserve(static_cast<int64_t>(request.ByteSizeLong()) +
                                                 MostBytesHeld(resolved, options.outbox)));
  const auto stream =
      std::make_shared<EventStream>(options, static_cast<EventStream::Writer*>(this),
                                    environment_.pool, environment_.clock, environment_.telemetry);
  RETURN_IF_ERROR(Adopt(stream));
  LogEvent(spdlog::level::debug, "request accepted",
           {{"request", request_id_},
            {"model", model_},
            {"count", generation.count},
            {"evaluations", resolved.accepted.evaluations()},
            {"seed", std::to_string(generation.seed)}});
  stream->Accept(std::move(resolved.accepted));
  // Nothing is written before the engine has the request: a refusal without headers is one that
  // gRPC's own retry policy may try again.
  ASSIGN_OR_RETURN(const Engine::Id id, environment_.engine->Submit(std::move(generation), stream));
  environment_.call_watch->Add(stream);
  stream->Open([engine = environment_.engine, id] { engine->Cancel(id); });
  return absl::OkStatus();
}

void GenerateReactor::WriteEvent(denoised::v1::GenerateEvent event) {
  event_ = std::move(event);
  BeforeHandOver(this);
  StartWrite(&event_);
}

void GenerateReactor::EndStream(const absl::Status& status, const StreamTotals& totals) {
  const absl::Duration elapsed = environment_.clock->Now() - arrival_;
  environment_.telemetry->RequestFinished(status.code(), elapsed);
  LogEvent(WithholdsMessage(status) ? spdlog::level::err : spdlog::level::info, "request finished",
           {{"request", request_id_},
            {"model", model_},
            {"code", absl::StatusCodeToString(status.code())},
            {"message", std::string(status.message())},
            {"images", totals.images},
            {"frames_sent", totals.frames_sent},
            {"frames_dropped", totals.frames_dropped},
            {"seconds", absl::ToDoubleSeconds(elapsed)}});
  grpc::Status grpc_status = ToGrpcStatus(status, request_id_, *context_);
  BeforeHandOver(this);
  Finish(std::move(grpc_status));
}

// The caller sees CANCELLED: a status of our own would have to wait behind what is not being read.
void GenerateReactor::BreakOff() { context_->TryCancel(); }

void GenerateReactor::OnWriteDone(bool ok) {
  AfterHandOver(this);
  stream()->OnWritten(ok);
}

void GenerateReactor::OnCancel() {
  AfterHandOver(this);
  {
    const MutexLock lock(mutex_);
    cancelled_ = true;
  }
  if (const auto accepted = stream()) accepted->Cancel();
}

void GenerateReactor::OnDone() {
  AfterHandOver(this);
  reservation_ = {};  // before anybody hears that the call is over
  environment_.live_calls->Remove();
  delete this;
}

}  // namespace denoise
