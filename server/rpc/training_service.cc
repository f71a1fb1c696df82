#include "server/rpc/training_service.h"

#include "core/base/status_macros.h"
#include "server/rpc/model_conversion.h"
#include "server/rpc/unary_answer.h"
#include "server/rpc/watch_stream.h"

namespace denoise {

namespace v1 = denoised::v1;

template <class Request, class Response, class Method>
grpc::ServerUnaryReactor* TrainingService::Call(grpc::CallbackServerContext* context,
                                                const Request* request, Response* response,
                                                Method method) {
  return AnswerOnPool(environment_, context, response,
                      [this, request, method]() -> absl::StatusOr<Response> {
                        RETURN_IF_ERROR(environment_.live_calls->Admit());
                        return (jobs_->*method)(*request);
                      });
}

grpc::ServerUnaryReactor* TrainingService::CreateTrainingJob(
    grpc::CallbackServerContext* context, const v1::CreateTrainingJobRequest* request,
    v1::TrainingJob* response) {
  return Call(context, request, response, &TrainingJobs::Create);
}

grpc::ServerUnaryReactor* TrainingService::GetTrainingJob(grpc::CallbackServerContext* context,
                                                          const v1::GetTrainingJobRequest* request,
                                                          v1::TrainingJob* response) {
  return Call(context, request, response, &TrainingJobs::Get);
}

grpc::ServerUnaryReactor* TrainingService::ListTrainingJobs(
    grpc::CallbackServerContext* context, const v1::ListTrainingJobsRequest* request,
    v1::ListTrainingJobsResponse* response) {
  return Call(context, request, response, &TrainingJobs::List);
}

grpc::ServerUnaryReactor* TrainingService::CancelTrainingJob(
    grpc::CallbackServerContext* context, const v1::CancelTrainingJobRequest* request,
    v1::TrainingJob* response) {
  return Call(context, request, response, &TrainingJobs::Cancel);
}

grpc::ServerUnaryReactor* TrainingService::PauseTrainingJob(
    grpc::CallbackServerContext* context, const v1::PauseTrainingJobRequest* request,
    v1::TrainingJob* response) {
  return Call(context, request, response, &TrainingJobs::Pause);
}

grpc::ServerUnaryReactor* TrainingService::ResumeTrainingJob(
    grpc::CallbackServerContext* context, const v1::ResumeTrainingJobRequest* request,
    v1::TrainingJob* response) {
  return Call(context, request, response, &TrainingJobs::Resume);
}

grpc::ServerUnaryReactor* TrainingService::DeleteTrainingJob(
    grpc::CallbackServerContext* context, const v1::DeleteTrainingJobRequest* request,
    google::protobuf::Empty* response) {
  return AnswerOnPool(environment_, context, response,
                      [this, request]() -> absl::StatusOr<google::protobuf::Empty> {
                        RETURN_IF_ERROR(environment_.live_calls->Admit());
                        RETURN_IF_ERROR(jobs_->Delete(*request));
                        return google::protobuf::Empty();
                      });
}

grpc::ServerUnaryReactor* TrainingService::ListCheckpoints(
    grpc::CallbackServerContext* context, const v1::ListCheckpointsRequest* request,
    v1::ListCheckpointsResponse* response) {
  return Call(context, request, response, &TrainingJobs::ListCheckpoints);
}

grpc::ServerWriteReactor<v1::TrainingEvent>* TrainingService::WatchTrainingJob(
    grpc::CallbackServerContext* context, const v1::WatchTrainingJobRequest* request) {
  return new WatchStream(environment_, context, jobs_, request);
}

grpc::ServerUnaryReactor* TrainingService::PublishModel(grpc::CallbackServerContext* context,
                                                        const v1::PublishModelRequest* request,
                                                        v1::Model* response) {
  return AnswerOnPool(environment_, context, response,
                      [this, request]() -> absl::StatusOr<v1::Model> {
                        RETURN_IF_ERROR(environment_.live_calls->Admit());
                        ASSIGN_OR_RETURN(const ModelHandle model, jobs_->Publish(*request));
                        return ModelToProto(*model);
                      });
}

}  // namespace denoise
