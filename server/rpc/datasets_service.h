// denoised.v1.Datasets.
#pragma once

#include <functional>
#include <utility>

#include "absl/status/statusor.h"
#include "denoised/v1/datasets.grpc.pb.h"
#include "server/jobs/datasets/data_set_store.h"
#include "server/rpc/call.h"

namespace denoise {

// Thread-safe. Outlives the gRPC server; what `data_sets` returns and what `environment` names
// outlive it. Every call waits for the disk, so all of them are answered on the pool.
class DatasetsService final : public denoised::v1::Datasets::CallbackService {
 public:
  // Returns what calls work with, or why there is none now. Called by the pool, for each call.
  using Source = std::function<absl::StatusOr<DataSetStore*>()>;

  DatasetsService(Source data_sets, const CallEnvironment& environment)
      : data_sets_(std::move(data_sets)), environment_(environment) {}

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
  const Source data_sets_;
  const CallEnvironment environment_;
};

}  // namespace denoise
