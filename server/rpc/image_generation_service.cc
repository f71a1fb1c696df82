#include "server/rpc/image_generation_service.h"

#include "core/base/status_macros.h"
#include "core/sampling/options/sampler_overrides.h"
#include "proto/conversion/plan_proto.h"
#include "proto/conversion/sampler_proto.h"
#include "server/requests/request_validation.h"
#include "server/rpc/unary_answer.h"

namespace denoise {

grpc::ServerUnaryReactor* ImageGenerationService::PlanSampler(
    grpc::CallbackServerContext* context, const denoised::v1::PlanSamplerRequest* request,
    denoised::v1::SamplerPlan* response) {
  return Answer(context, denoise::PlanSampler(*request, *environment_.models, environment_.limits),
                response);
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
