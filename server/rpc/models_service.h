// denoised.v1.Models.
#pragma once

#include "absl/status/statusor.h"
#include "denoised/v1/models.grpc.pb.h"
#include "server/models/model_repository.h"

namespace denoise {

// Thread-safe. Outlives the gRPC server; `models` outlives it.
class ModelsService final : public denoised::v1::Models::CallbackService {
 public:
  explicit ModelsService(const ModelRepository* models) : models_(models) {}

  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const denoised::v1::ListModelsRequest* request,
                                       denoised::v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const denoised::v1::GetModelRequest* request,
                                     denoised::v1::Model* response) override;

 private:
  const ModelRepository* const models_;
};

// A model as the contract describes it.
denoised::v1::Model ModelToProto(const Model& model);

// The services' work, without gRPC. The page token is opaque to callers; only ListModels makes and
// reads it.
absl::StatusOr<denoised::v1::ListModelsResponse> ListModels(
    const ModelRepository& models, const denoised::v1::ListModelsRequest& request);
absl::StatusOr<denoised::v1::Model> GetModel(const ModelRepository& models,
                                             const denoised::v1::GetModelRequest& request);

}  // namespace denoise
