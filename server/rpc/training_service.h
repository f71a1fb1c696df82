// denoised.v1.Training.
#pragma once

#include <functional>
#include <utility>

#include "absl/status/statusor.h"
#include "denoised/v1/training.grpc.pb.h"
#include "server/jobs/training_jobs.h"
#include "server/rpc/call.h"

namespace denoise {

// Thread-safe. Outlives the gRPC server; what `jobs` returns, what `environment` names and
// `model_pool` outlive it. Every call waits for the disk, so all of them are answered on a pool:
// those that may wait for a model to be loaded or copied on a pool of their own.
class TrainingService final : public denoised::v1::Training::CallbackService {
 public:
  // Returns what calls work with, or why there is none now. Called by the pool, for each call.
  using Source = std::function<absl::StatusOr<TrainingJobs*>()>;

  TrainingService(Source jobs, const CallEnvironment& environment, WorkPool* model_pool)
      : jobs_(std::move(jobs)), environment_(environment), model_environment_(environment) {
    model_environment_.pool = model_pool;
  }

  grpc::ServerUnaryReactor* CreateTrainingJob(grpc::CallbackServerContext* context,
                                              const denoised::v1::CreateTrainingJobRequest* request,
                                              denoised::v1::TrainingJob* response) override;
  grpc::ServerUnaryReactor* GetTrainingJob(grpc::CallbackServerContext* context,
                                           const denoised::v1::GetTrainingJobRequest* request,
                                           denoised::v1::TrainingJob* response) override;
  grpc::ServerUnaryReactor* ListTrainingJobs(
      grpc::CallbackServerContext* context, const denoised::v1::ListTrainingJobsRequest* request,
      denoised::v1::ListTrainingJobsResponse* response) override;
  grpc::ServerUnaryReactor* CancelTrainingJob(grpc::CallbackServerContext* context,
                                              const denoised::v1::CancelTrainingJobRequest* request,
                                              denoised::v1::TrainingJob* response) override;
  grpc::ServerUnaryReactor* PauseTrainingJob(grpc::CallbackServerContext* context,
                                             const denoised::v1::PauseTrainingJobRequest* request,
                                             denoised::v1::TrainingJob* response) override;
  grpc::ServerUnaryReactor* ResumeTrainingJob(grpc::CallbackServerContext* context,
                                              const denoised::v1::ResumeTrainingJobRequest* request,
                                              denoised::v1::TrainingJob* response) override;
  grpc::ServerUnaryReactor* DeleteTrainingJob(grpc::CallbackServerContext* context,
                                              const denoised::v1::DeleteTrainingJobRequest* request,
                                              google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* ListCheckpoints(
      grpc::CallbackServerContext* context, const denoised::v1::ListCheckpointsRequest* request,
      denoised::v1::ListCheckpointsResponse* response) override;
  grpc::ServerWriteReactor<denoised::v1::TrainingEvent>* WatchTrainingJob(
      grpc::CallbackServerContext* context,
      const denoised::v1::WatchTrainingJobRequest* request) override;
  grpc::ServerUnaryReactor* PublishModel(grpc::CallbackServerContext* context,
                                         const denoised::v1::PublishModelRequest* request,
                                         denoised::v1::Model* response) override;

 private:
  // Answers with what `method` of the jobs makes of the request.
  template <class Request, class Response, class Method>
  grpc::ServerUnaryReactor* CallJobs(grpc::CallbackServerContext* context, const Request* request,
                                     Response* response, Method method) {
    return CallJobs(environment_, context, request, response, method);
  }
  template <class Request, class Response, class Method>
  grpc::ServerUnaryReactor* CallJobs(const CallEnvironment& environment,
                                     grpc::CallbackServerContext* context, const Request* request,
                                     Response* response, Method method);

  const Source jobs_;
  const CallEnvironment environment_;
  CallEnvironment model_environment_;  // constant after construction
};

}  // namespace denoise
