#include "server/rpc/diffuse_reactor.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/base/thread_order.h"
#include "server/rpc/call_end.h"
#include "server/rpc/request_id.h"
#include "server/rpc/seed.h"
#include "server/rpc/status_mapping.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

// The most that a call can hold: each picture with its x_t and generator, what it says of levels, and
// the frame that is on its way.
int64_t MostBytesHeld(const ResolvedDiffusion& resolved,
                      const denoised::v1::DiffuseRequest& request) {
  const int64_t pictures = request.pictures_size();
  constexpr int64_t kGeneratorBytes = 8 << 10, kLevelBytes = 256;
  return kCallBytes + static_cast<int64_t>(request.ByteSizeLong()) + pictures * kGeneratorBytes +
         resolved.accepted.levels_size() * kLevelBytes +
         (2 * pictures + 1) * SampleBytes(resolved.model->spec);
}

}  // namespace

void DiffuseReactor::Reader::BeginWrite() {
  const MutexLock lock(mutex_);
  write_began_ = clock_->Now();
}

void DiffuseReactor::Reader::EndWrite() {
  const MutexLock lock(mutex_);
  write_began_ = absl::InfiniteFuture();
}

void DiffuseReactor::Reader::Leave() {
  const MutexLock lock(mutex_);
  context_ = nullptr;
}

// The caller sees CANCELLED: a status of our own would have to wait behind what is not being read.
void DiffuseReactor::Reader::CheckReader() {
  const MutexLock lock(mutex_);
  if (context_ == nullptr || clock_->Now() - write_began_ <= write_time_max_) return;
  context_->TryCancel();
}

DiffuseReactor::DiffuseReactor(const GenerateEnvironment& environment,
                               grpc::CallbackServerContext* context,
                               const denoised::v1::DiffuseRequest& request)
    : environment_(environment),
      context_(context),
      request_id_(NewRequestId()),
      model_(request.model()),
      arrival_(environment.clock->Now()),
      reader_(std::make_shared<Reader>(context, environment.clock, environment.write_time_max)) {
  environment_.live_calls->Add();
  if (const absl::Status status = Start(request); !status.ok()) {
    End(status);
    return;
  }
  environment_.readers->Add(reader_);
  ScheduleTurn();
}

absl::Status DiffuseReactor::Start(const denoised::v1::DiffuseRequest& request) {
  RETURN_IF_ERROR(environment_.live_calls->Admit());
  ASSIGN_OR_RETURN(ResolvedDiffusion resolved, ResolveDiffusion(request, *environment_.models,
                                                                environment_.limits, ChooseSeed()));
  ASSIGN_OR_RETURN(reservation_, environment_.samples->Reserve(MostBytesHeld(resolved, request)));
  diffusion_.emplace(std::move(resolved), &request, environment_.limits.max_picture_pixels,
                     arrival_);
  return absl::OkStatus();
}

void DiffuseReactor::ScheduleTurn() {
  BeforeHandOver(this);
  environment_.pool->Schedule([this] {
    AfterHandOver(this);
    TakeTurn();
  });
}

void DiffuseReactor::TakeTurn() {
  if (cancelled_) {
    return End(WithDeadline(absl::CancelledError("the caller has gone"), DeadlineOf(*context_),
                            environment_.clock->Now()));
  }
  if (diffusion_->done()) return End(absl::OkStatus());
  absl::StatusOr<std::optional<denoised::v1::DiffuseEvent>> event = Turn();
  if (!event.ok()) return End(event.status());
  if (!event->has_value()) return ScheduleTurn();
  event_ = **std::move(event);
  reader_->BeginWrite();
  BeforeHandOver(this);
  StartWrite(&event_);
}

absl::StatusOr<std::optional<denoised::v1::DiffuseEvent>> DiffuseReactor::Turn() {
  try {
    return diffusion_->Turn(environment_.clock->Now());
  } catch (const std::exception& error) {  // LibTorch's, or memory ran out
    return absl::InternalError(absl::StrCat("cannot diffuse: ", error.what()));
  }
}

void DiffuseReactor::End(const absl::Status& status) {
  const absl::Duration elapsed = environment_.clock->Now() - arrival_;
  environment_.telemetry->DiffusionFinished(status.code());
  LogEvent(WithholdsMessage(status) ? spdlog::level::err : spdlog::level::info,
           "diffusion finished",
           {{"request", request_id_},
            {"model", model_},
            {"code", absl::StatusCodeToString(status.code())},
            {"message", std::string(status.message())},
            {"frames_sent", diffusion_ ? diffusion_->frames() : 0},
            {"seconds", absl::ToDoubleSeconds(elapsed)}});
  grpc::Status grpc_status = ToGrpcStatus(status, request_id_, *context_);
  BeforeHandOver(this);
  Finish(std::move(grpc_status));
}

void DiffuseReactor::OnWriteDone(bool ok) {
  AfterHandOver(this);
  reader_->EndWrite();
  if (!ok) cancelled_ = true;
  ScheduleTurn();
}

void DiffuseReactor::OnCancel() { cancelled_ = true; }

void DiffuseReactor::OnDone() {
  AfterHandOver(this);
  reader_->Leave();
  reservation_ = {};  // before anybody hears that the call is over
  environment_.live_calls->Remove();
  delete this;
}

}  // namespace denoise
