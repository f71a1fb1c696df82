#include "server/rpc/image_generation_service.h"

#include <utility>

#include "core/base/status_macros.h"
#include "core/sampling/options/sampler_overrides.h"
#include "proto/conversion/plan_proto.h"
#include "proto/conversion/sampler_proto.h"
#include "server/requests/request_validation.h"
#include "server/rpc/diffuse_stream.h"
#include "server/rpc/pause_call.h"
#include "server/rpc/unary_answer.h"

namespace denoise {

namespace v1 = denoised::v1;

grpc::ServerWriteReactor<v1::GenerateEvent>* ImageGenerationService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  return new EventStream<v1::GenerateEvent>(environment_.calls, context, [&](Call call) {
    return MakeGenerateSource(environment_, *request, std::move(call));
  });
}

grpc::ServerWriteReactor<v1::DiffuseEvent>* ImageGenerationService::Diffuse(
    grpc::CallbackServerContext* context, const v1::DiffuseRequest* request) {
  return new EventStream<v1::DiffuseEvent>(environment_.calls, context, [&](Call call) {
    return MakeDiffuseSource(environment_, *request, std::move(call));
  });
}

grpc::ServerUnaryReactor* ImageGenerationService::PlanSampler(
    grpc::CallbackServerContext* context, const denoised::v1::PlanSamplerRequest* request,
    denoised::v1::SamplerPlan* response) {
  return Answer(environment_.calls, context, response, [&](const Identity&) {
    return denoise::PlanSampler(*request, *environment_.models, environment_.limits);
  });
}

grpc::ServerWriteReactor<v1::GenerateEvent>* GenerationsService::WatchGeneration(
    grpc::CallbackServerContext* context, const v1::WatchGenerationRequest* request) {
  return new EventStream<v1::GenerateEvent>(environment_.calls, context, [&](Call call) {
    return MakeWatchSource(environment_, *request, std::move(call));
  });
}

grpc::ServerUnaryReactor* GenerationsService::GetGeneration(grpc::CallbackServerContext* context,
                                                            const v1::GetGenerationRequest* request,
                                                            v1::Generation* response) {
  return Answer(environment_.calls, context, response, [&](const Identity& caller) {
    return environment_.generations->Get(*request, caller);
  });
}

grpc::ServerUnaryReactor* GenerationsService::ListGenerations(
    grpc::CallbackServerContext* context, const v1::ListGenerationsRequest* request,
    v1::ListGenerationsResponse* response) {
  return Answer(environment_.calls, context, response, [&](const Identity& caller) {
    return environment_.generations->List(*request, caller);
  });
}

grpc::ServerUnaryReactor* GenerationsService::CancelGeneration(
    grpc::CallbackServerContext* context, const v1::CancelGenerationRequest* request,
    v1::Generation* response) {
  return Answer(environment_.calls, context, response, [&](const Identity& caller) {
    return environment_.generations->Cancel(*request, caller);
  });
}

grpc::ServerUnaryReactor* GenerationsService::PauseGeneration(
    grpc::CallbackServerContext* context, const v1::PauseGenerationRequest* request,
    v1::PauseGenerationResponse* response) {
  return new PauseCall(environment_, context, *request, response);
}

absl::StatusOr<denoised::v1::SamplerPlan> PlanSampler(
    const denoised::v1::PlanSamplerRequest& request, const ModelRepository& models,
    const RequestLimits& limits) {
  ASSIGN_OR_RETURN(const ResolvedPlan resolved, ResolvePlanRequest(request, models, limits));
  denoised::v1::SamplerPlan plan = PlanToProto(*resolved.plan);
  plan.set_model(ModelName(resolved.model->id));
  plan.set_model_version(resolved.model->version);
  *plan.mutable_sampler() = SamplerToProto(EffectiveOverrides(resolved.options));
  return plan;
}

}  // namespace denoise
