#include "server/rpc/generate_reactor.h"

#include <chrono>
#include <random>
#include <utility>

#include "core/base/status_macros.h"
#include "server/rpc/request_id.h"
#include "server/rpc/status_mapping.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

// 32 bits are plenty of images, and short enough to be typed again.
uint64_t ChooseSeed() { return std::random_device()(); }

absl::Time Deadline(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return absl::FromChrono(deadline);
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
  if (const absl::Status status = Start(request); !status.ok()) EndStream(status, {});
}

absl::Status GenerateReactor::Start(const denoised::v1::GenerateRequest& request) {
  ASSIGN_OR_RETURN(ResolvedRequest resolved, ResolveRequest(request, *environment_.models,
                                                            environment_.limits, ChooseSeed()));
  GenerationRequest& generation = resolved.generation;
  generation.deadline = Deadline(*context_);
  const EventStream::Options options = {.image_encoding = resolved.image_encoding,
                                        .frame_encoding = resolved.frame_encoding,
                                        .frame_bytes_max = resolved.frame_bytes_max,
                                        .steps_total = resolved.accepted.steps() * generation.count,
                                        .arrival = arrival_,
                                        .deadline = generation.deadline,
                                        .outbox = {}};
  stream_ =
      std::make_shared<EventStream>(options, static_cast<EventStream::Writer*>(this),
                                    environment_.pool, environment_.clock, environment_.telemetry);
  LogEvent(spdlog::level::debug, "request accepted",
           {{"request", request_id_},
            {"model", model_},
            {"count", generation.count},
            {"evaluations", resolved.accepted.evaluations()},
            {"seed", std::to_string(generation.seed)}});
  stream_->Accept(std::move(resolved.accepted));
  // Nothing is written before the engine has the request: a refusal without headers is one that
  // gRPC's own retry policy may try again.
  ASSIGN_OR_RETURN(const Engine::Id id,
                   environment_.engine->Submit(std::move(generation), stream_));
  stream_->Open([engine = environment_.engine, id] { engine->Cancel(id); });
  return absl::OkStatus();
}

void GenerateReactor::WriteEvent(denoised::v1::GenerateEvent event) {
  event_ = std::move(event);
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
  Finish(ToGrpcStatus(status, request_id_, *context_));
}

void GenerateReactor::OnWriteDone(bool ok) { stream_->OnWritten(ok); }

void GenerateReactor::OnCancel() {
  if (stream_) stream_->Cancel();
}

void GenerateReactor::OnDone() {
  environment_.live_calls->Remove();
  delete this;
}

}  // namespace denoise
