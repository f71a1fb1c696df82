// Training and data sets without a network or a disk: answers over real gRPC what a test tells it
// to.
#pragma once

#include <grpcpp/impl/service_type.h>
#include <grpcpp/server_context.h>

#include <functional>
#include <memory>
#include <vector>

#include "denoised/v1/datasets.grpc.pb.h"
#include "denoised/v1/training.grpc.pb.h"

namespace denoise {

// The services Training and Datasets, for a FakeServer that it outlives. Each call is answered by
// the function below, set before the call and called on gRPC's threads; UNIMPLEMENTED where there
// is none.
class FakeTraining {
 public:
  FakeTraining();
  ~FakeTraining();

  std::vector<grpc::Service*> services() const;

  template <class Request, class Response>
  using Answer = std::function<grpc::Status(const Request& request, Response& response)>;
  template <class Request>
  using JobAnswer = Answer<Request, denoised::v1::TrainingJob>;

  JobAnswer<denoised::v1::CreateTrainingJobRequest> create_job;
  JobAnswer<denoised::v1::GetTrainingJobRequest> get_job;
  JobAnswer<denoised::v1::CancelTrainingJobRequest> cancel_job;
  JobAnswer<denoised::v1::PauseTrainingJobRequest> pause_job;
  JobAnswer<denoised::v1::ResumeTrainingJobRequest> resume_job;
  Answer<denoised::v1::ListTrainingJobsRequest, denoised::v1::ListTrainingJobsResponse> list_jobs;
  Answer<denoised::v1::DeleteTrainingJobRequest, google::protobuf::Empty> delete_job;
  Answer<denoised::v1::ListCheckpointsRequest, denoised::v1::ListCheckpointsResponse>
      list_checkpoints;
  Answer<denoised::v1::PublishModelRequest, denoised::v1::Model> publish;
  std::function<grpc::Status(grpc::ServerContext&, const denoised::v1::WatchTrainingJobRequest&,
                             grpc::ServerWriter<denoised::v1::TrainingEvent>&)>
      watch_job;

  std::function<grpc::Status(grpc::ServerContext&,
                             grpc::ServerReader<denoised::v1::UploadDatasetRequest>&,
                             denoised::v1::Dataset&)>
      upload;
  Answer<denoised::v1::ListDatasetsRequest, denoised::v1::ListDatasetsResponse> list_datasets;
  Answer<denoised::v1::GetDatasetRequest, denoised::v1::Dataset> get_dataset;
  Answer<denoised::v1::DeleteDatasetRequest, google::protobuf::Empty> delete_dataset;

 private:
  class Training;
  class Datasets;

  const std::unique_ptr<Training> training_;
  const std::unique_ptr<Datasets> datasets_;
};

}  // namespace denoise
