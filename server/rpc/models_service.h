// denoised.v1.Models.
#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "denoised/v1/models.grpc.pb.h"
#include "server/models/adapter_catalog.h"
#include "server/models/live_models.h"
#include "server/models/model_repository.h"
#include "server/rpc/call.h"
#include "server/rpc/work_pool.h"

namespace denoise {

// Thread-safe. Outlives the gRPC server; what it is given outlives it.
class ModelsService final : public denoised::v1::Models::CallbackService {
 public:
  // Calls that load and delete can take long, on a pool of their own. Without `managed`, which may
  // be null, they are refused.
  // Lists of adapters wait for the disk, on another.
  ModelsService(ModelRepository* models, LiveModels* managed, AdapterCatalog* adapters,
                const CallEnvironment& environment, WorkPool* managing_pool, WorkPool* disk_pool)
      : models_(models),
        managed_(managed),
        adapters_(adapters),
        environment_(environment),
        managing_environment_(environment),
        disk_environment_(environment) {
    managing_environment_.pool = managing_pool;
    disk_environment_.pool = disk_pool;
  }

  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const denoised::v1::ListModelsRequest* request,
                                       denoised::v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const denoised::v1::GetModelRequest* request,
                                     denoised::v1::Model* response) override;
  grpc::ServerWriteReactor<denoised::v1::ModelEvent>* WatchModels(
      grpc::CallbackServerContext* context,
      const denoised::v1::WatchModelsRequest* request) override;
  grpc::ServerUnaryReactor* ListAdapters(grpc::CallbackServerContext* context,
                                         const denoised::v1::ListAdaptersRequest* request,
                                         denoised::v1::ListAdaptersResponse* response) override;
  grpc::ServerUnaryReactor* LoadModel(grpc::CallbackServerContext* context,
                                      const denoised::v1::LoadModelRequest* request,
                                      denoised::v1::Model* response) override;
  grpc::ServerUnaryReactor* UnloadModel(grpc::CallbackServerContext* context,
                                        const denoised::v1::UnloadModelRequest* request,
                                        denoised::v1::Model* response) override;
  grpc::ServerUnaryReactor* DeleteModel(grpc::CallbackServerContext* context,
                                        const denoised::v1::DeleteModelRequest* request,
                                        google::protobuf::Empty* response) override;

 private:
  template <class Request, class Response, class Work>
  grpc::ServerUnaryReactor* Manage(const CallEnvironment& environment,
                                   grpc::CallbackServerContext* context, const Request* request,
                                   Response* response, Work work);

  absl::StatusOr<denoised::v1::Model> Load(const std::string& id,
                                           const LiveModels::IsCancelled& is_cancelled);

  ModelRepository* const models_;
  LiveModels* const managed_;
  AdapterCatalog* const adapters_;
  const CallEnvironment environment_;
  CallEnvironment managing_environment_;
  CallEnvironment disk_environment_;
};

// A model as the contract describes it.
denoised::v1::Model ModelToProto(const ModelStatus& status);

// The service's work, without gRPC. The page token is opaque to callers; only ListModels makes and
// reads it.
absl::StatusOr<denoised::v1::ListModelsResponse> ListModels(
    const ModelRepository& models, const denoised::v1::ListModelsRequest& request);
absl::StatusOr<denoised::v1::Model> GetModel(const ModelRepository& models,
                                             const denoised::v1::GetModelRequest& request);
absl::StatusOr<denoised::v1::ListAdaptersResponse> ListAdapters(
    const ModelRepository& models, AdapterCatalog& adapters,
    const denoised::v1::ListAdaptersRequest& request,
    const std::function<bool()>& is_cancelled = [] { return false; });

}  // namespace denoise
