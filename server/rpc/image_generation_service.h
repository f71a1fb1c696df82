// denoised.v1.ImageGeneration.
#pragma once

#include "denoised/v1/image_generation.grpc.pb.h"
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

 private:
  const GenerateEnvironment environment_;
};

}  // namespace denoise
