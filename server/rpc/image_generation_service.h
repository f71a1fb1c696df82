// denoised.v1.ImageGeneration, and denoised.v1.Generations beside it.
#pragma once

#include "absl/status/statusor.h"
#include "denoised/v1/generations.grpc.pb.h"
#include "denoised/v1/image_generation.grpc.pb.h"
#include "server/rpc/generation_stream.h"

namespace denoise {

// Thread-safe, as the next one. Both outlive the gRPC server; what `environment` names outlives
// them.
class ImageGenerationService final : public denoised::v1::ImageGeneration::CallbackService {
 public:
  explicit ImageGenerationService(const GenerationEnvironment& environment)
      : environment_(environment) {}

  grpc::ServerWriteReactor<denoised::v1::GenerateEvent>* Generate(
      grpc::CallbackServerContext* context, const denoised::v1::GenerateRequest* request) override;
  grpc::ServerWriteReactor<denoised::v1::DiffuseEvent>* Diffuse(
      grpc::CallbackServerContext* context, const denoised::v1::DiffuseRequest* request) override;
  grpc::ServerUnaryReactor* PlanSampler(grpc::CallbackServerContext* context,
                                        const denoised::v1::PlanSamplerRequest* request,
                                        denoised::v1::SamplerPlan* response) override;

 private:
  const GenerationEnvironment environment_;
};

class GenerationsService final : public denoised::v1::Generations::CallbackService {
 public:
  explicit GenerationsService(const GenerationEnvironment& environment)
      : environment_(environment) {}

  grpc::ServerWriteReactor<denoised::v1::GenerateEvent>* WatchGeneration(
      grpc::CallbackServerContext* context,
      const denoised::v1::WatchGenerationRequest* request) override;
  grpc::ServerUnaryReactor* GetGeneration(grpc::CallbackServerContext* context,
                                          const denoised::v1::GetGenerationRequest* request,
                                          denoised::v1::Generation* response) override;
  grpc::ServerUnaryReactor* ListGenerations(
      grpc::CallbackServerContext* context, const denoised::v1::ListGenerationsRequest* request,
      denoised::v1::ListGenerationsResponse* response) override;
  grpc::ServerUnaryReactor* CancelGeneration(grpc::CallbackServerContext* context,
                                             const denoised::v1::CancelGenerationRequest* request,
                                             denoised::v1::Generation* response) override;
  grpc::ServerUnaryReactor* PauseGeneration(
      grpc::CallbackServerContext* context, const denoised::v1::PauseGenerationRequest* request,
      denoised::v1::PauseGenerationResponse* response) override;

 private:
  const GenerationEnvironment environment_;
};

// PlanSampler's work, without gRPC.
absl::StatusOr<denoised::v1::SamplerPlan> PlanSampler(
    const denoised::v1::PlanSamplerRequest& request, const ModelRepository& models,
    const RequestLimits& limits);

}  // namespace denoise
