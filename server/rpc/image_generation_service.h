// denoised.v1.ImageGeneration.
#pragma once

#include "absl/status/statusor.h"
#include "denoised/v1/image_generation.grpc.pb.h"
#include "server/rpc/diffuse_reactor.h"
#include "server/rpc/generate_reactor.h"

namespace denoise {

// Thread-safe. Outlives the gRPC server.
class ImageGenerationService final : public denoised::v1::ImageGeneration::CallbackService {
 public:
  explicit ImageGenerationService(const GenerateEnvironment& environment)
      : environment_(environment) {}

  grpc::ServerWriteReactor<denoised::v1::GenerateEvent>* Generate(
      grpc::CallbackServerContext* context, const denoised::v1::GenerateRequest* request) override {
    return new GenerateReactor(environment_, context, *request);
  }

  grpc::ServerWriteReactor<denoised::v1::DiffuseEvent>* Diffuse(
      grpc::CallbackServerContext* context, const denoised::v1::DiffuseRequest* request) override {
    return new DiffuseReactor(environment_, context, *request);
  }

  grpc::ServerUnaryReactor* PlanSampler(grpc::CallbackServerContext* context,
                                        const denoised::v1::PlanSamplerRequest* request,
                                        denoised::v1::SamplerPlan* response) override;

 private:
  const GenerateEnvironment environment_;
};

// PlanSampler's work, without gRPC.
absl::StatusOr<denoised::v1::SamplerPlan> PlanSampler(
    const denoised::v1::PlanSamplerRequest& request, const ModelRepository& models,
    const RequestLimits& limits);

}  // namespace denoise
