#include "server/rpc/diffuse_reactor.h"

#include <utility>

#include "core/base/status_macros.h"
#include "server/requests/seed.h"
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

TurnEnvironment TurnsOf(const GenerateEnvironment& environment) {
  return {.pool = environment.pool,
          .clock = environment.clock,
          .live_calls = environment.live_calls,
          .call_watch = environment.call_watch,
          .write_time_max = environment.write_time_max};
}

}  // namespace

DiffuseReactor::DiffuseReactor(const GenerateEnvironment& environment,
                               grpc::CallbackServerContext* context,
                               const denoised::v1::DiffuseRequest& request)
    : TurnStream(TurnsOf(environment), context),
      environment_(environment),
      model_(request.model()) {
  Begin(Start(request));
}

absl::Status DiffuseReactor::Start(const denoised::v1::DiffuseRequest& request) {
  RETURN_IF_ERROR(environment_.live_calls->Admit());
  ASSIGN_OR_RETURN(ResolvedDiffusion resolved, ResolveDiffusion(request, *environment_.models,
                                                                environment_.limits, ChooseSeed()));
  ASSIGN_OR_RETURN(reservation_, environment_.samples->Reserve(MostBytesHeld(resolved, request)));
  diffusion_.emplace(std::move(resolved), &request, environment_.limits.max_picture_pixels,
                     arrival());
  return absl::OkStatus();
}

absl::StatusOr<DiffuseReactor::Outcome> DiffuseReactor::TakeTurn() {
  if (diffusion_->done()) return Over();
  ASSIGN_OR_RETURN(std::optional<denoised::v1::DiffuseEvent> event,
                   diffusion_->Turn(environment_.clock->Now()));
  if (!event.has_value()) return Again();
  return *std::move(event);
}

void DiffuseReactor::OnEnd(const absl::Status& status) {
  environment_.telemetry->DiffusionFinished(status.code());
  LogEvent(WithholdsMessage(status) ? spdlog::level::err : spdlog::level::info,
           "diffusion finished",
           {{"request", request_id()},
            {"model", model_},
            {"code", absl::StatusCodeToString(status.code())},
            {"message", std::string(status.message())},
            {"frames_sent", diffusion_ ? diffusion_->frames() : 0},
            {"seconds", absl::ToDoubleSeconds(environment_.clock->Now() - arrival())}});
}

}  // namespace denoise
