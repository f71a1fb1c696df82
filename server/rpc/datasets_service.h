// denoised.v1.Datasets.
#pragma once

#include "denoised/v1/datasets.grpc.pb.h"
#include "server/jobs/datasets/data_set_store.h"
#include "server/rpc/call.h"

namespace denoise {

// Thread-safe. Outlives the gRPC server; `data_sets` and what `environment` names outlive it. Every
// call waits for the disk, so all of them are answered on the pool.
class DatasetsService final : public denoised::v1::Datasets::CallbackService {
 public:
  DatasetsService(DataSetStore* data_sets, const CallEnvironment& environment)
      : data_sets_(data_sets), environment_(environment) {}

  grpc::ServerReadReactor<denoised::v1::UploadDatasetRequest>* UploadDataset(
      grpc::CallbackServerContext* context, denoised::v1::Dataset* response) override;
  grpc::ServerUnaryReactor* ListDatasets(grpc::CallbackServerContext* context,
                                         const denoised::v1::ListDatasetsRequest* request,
                                         denoised::v1::ListDatasetsResponse* response) override;
  grpc::ServerUnaryReactor* GetDataset(grpc::CallbackServerContext* context,
                                       const denoised::v1::GetDatasetRequest* request,
                                       denoised::v1::Dataset* response) override;
  grpc::ServerUnaryReactor* DeleteDataset(grpc::CallbackServerContext* context,
                                          const denoised::v1::DeleteDatasetRequest* request,
                                          google::protobuf::Empty* response) override;

 private:
  DataSetStore* const data_sets_;
  const CallEnvironment environment_;
};

}  // namespace denoise
