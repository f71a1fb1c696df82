#include "server/rpc/datasets_service.h"

#include "core/base/status_macros.h"
#include "server/rpc/unary_answer.h"
#include "server/rpc/upload_stream.h"

namespace denoise {

namespace v1 = denoised::v1;

grpc::ServerReadReactor<v1::UploadDatasetRequest>* DatasetsService::UploadDataset(
    grpc::CallbackServerContext* context, v1::Dataset* response) {
  return new UploadStream(environment_, context, data_sets_, response);
}

grpc::ServerUnaryReactor* DatasetsService::ListDatasets(grpc::CallbackServerContext* context,
                                                        const v1::ListDatasetsRequest* request,
                                                        v1::ListDatasetsResponse* response) {
  return AnswerOnPool(environment_, context, response,
                      [this, request] { return data_sets_->List(*request); });
}

grpc::ServerUnaryReactor* DatasetsService::GetDataset(grpc::CallbackServerContext* context,
                                                      const v1::GetDatasetRequest* request,
                                                      v1::Dataset* response) {
  return AnswerOnPool(environment_, context, response,
                      [this, request] { return data_sets_->Get(*request); });
}

grpc::ServerUnaryReactor* DatasetsService::DeleteDataset(grpc::CallbackServerContext* context,
                                                         const v1::DeleteDatasetRequest* request,
                                                         google::protobuf::Empty* response) {
  return AnswerOnPool(environment_, context, response,
                      [this, request]() -> absl::StatusOr<google::protobuf::Empty> {
                        RETURN_IF_ERROR(environment_.live_calls->Admit());
                        RETURN_IF_ERROR(data_sets_->Delete(*request));
                        return google::protobuf::Empty();
                      });
}

}  // namespace denoise
