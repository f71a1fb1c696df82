#include "server/rpc/training_service.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/base/status_macros.h"
#include "proto/conversion/repeated_counts.h"
#include "server/rpc/event_stream.h"
#include "server/rpc/models_service.h"
#include "server/rpc/unary_answer.h"
#include "server/telemetry/log.h"

namespace denoise {

namespace v1 = denoised::v1;

namespace {

// What the stream of a WatchTrainingJob call reads.
class WatchJobSource final : public EventSource<v1::TrainingEvent> {
 public:
  // `request` is gRPC's, and lives until the call is over.
  WatchJobSource(LiveCalls* live_calls, TrainingService::Source jobs,
                 const v1::WatchTrainingJobRequest& request, Call call)
      : live_calls_(live_calls),
        jobs_(std::move(jobs)),
        request_(request),
        call_(std::move(call)) {}

  absl::StatusOr<Outcome> Next() override {
    RETURN_IF_ERROR(live_calls_->CheckNotDraining());
    if (!watcher_) {
      ASSIGN_OR_RETURN(TrainingJobs* const jobs, jobs_());
      ASSIGN_OR_RETURN(watcher_, jobs->Watch(request_, call_.caller, call_.wake));
    }
    ASSIGN_OR_RETURN(std::optional<v1::TrainingEvent> event, watcher_->Next());
    if (event) {
      ++events_;
      return *std::move(event);
    }
    if (watcher_->over()) return Over();
    return Wait();
  }

  void OnEnd(const absl::Status& status) override {
    LogEvent(LevelOf(status), "watch finished",
             {{"request", call_.record->id()},
              {"trace_id", call_.record->trace_id()},
              {"job", request_.name()},
              {"code", absl::StatusCodeToString(status.code())},
              {"message", std::string(status.message())},
              {"events", events_}});
  }

 private:
  LiveCalls* const live_calls_;
  const TrainingService::Source jobs_;
  const v1::WatchTrainingJobRequest& request_;
  const Call call_;
  std::unique_ptr<TrainingJobs::Watcher> watcher_;  // made on the pool: that reads from the disk
  int64_t events_ = 0;
};

}  // namespace

template <class Request, class Response, class Method>
grpc::ServerUnaryReactor* TrainingService::CallJobs(const CallEnvironment& environment,
                                                    grpc::CallbackServerContext* context,
                                                    const Request* request, Response* response,
                                                    Method method) {
  return AnswerOnPool(environment, context, response,
                      [this, request, method](const Identity& caller) -> absl::StatusOr<Response> {
                        RETURN_IF_ERROR(environment_.live_calls->AdmitNewCall());
                        RETURN_IF_ERROR(CheckRepeatedCounts(*request));
                        ASSIGN_OR_RETURN(TrainingJobs* const jobs, jobs_());
                        return (jobs->*method)(*request, caller);
                      });
}

grpc::ServerUnaryReactor* TrainingService::CreateTrainingJob(
    grpc::CallbackServerContext* context, const v1::CreateTrainingJobRequest* request,
    v1::TrainingJob* response) {
  return CallJobs(model_environment_, context, request, response, &TrainingJobs::Create);
}

grpc::ServerUnaryReactor* TrainingService::GetTrainingJob(grpc::CallbackServerContext* context,
                                                          const v1::GetTrainingJobRequest* request,
                                                          v1::TrainingJob* response) {
  return CallJobs(context, request, response, &TrainingJobs::Get);
}

grpc::ServerUnaryReactor* TrainingService::ListTrainingJobs(
    grpc::CallbackServerContext* context, const v1::ListTrainingJobsRequest* request,
    v1::ListTrainingJobsResponse* response) {
  return CallJobs(context, request, response, &TrainingJobs::List);
}

grpc::ServerUnaryReactor* TrainingService::CancelTrainingJob(
    grpc::CallbackServerContext* context, const v1::CancelTrainingJobRequest* request,
    v1::TrainingJob* response) {
  return CallJobs(context, request, response, &TrainingJobs::Cancel);
}

grpc::ServerUnaryReactor* TrainingService::PauseTrainingJob(
    grpc::CallbackServerContext* context, const v1::PauseTrainingJobRequest* request,
    v1::TrainingJob* response) {
  return CallJobs(context, request, response, &TrainingJobs::Pause);
}

grpc::ServerUnaryReactor* TrainingService::ResumeTrainingJob(
    grpc::CallbackServerContext* context, const v1::ResumeTrainingJobRequest* request,
    v1::TrainingJob* response) {
  return CallJobs(context, request, response, &TrainingJobs::Resume);
}

grpc::ServerUnaryReactor* TrainingService::DeleteTrainingJob(
    grpc::CallbackServerContext* context, const v1::DeleteTrainingJobRequest* request,
    google::protobuf::Empty* response) {
  return AnswerOnPool(
      environment_, context, response,
      [this, request](const Identity& caller) -> absl::StatusOr<google::protobuf::Empty> {
        RETURN_IF_ERROR(environment_.live_calls->AdmitNewCall());
        ASSIGN_OR_RETURN(TrainingJobs* const jobs, jobs_());
        RETURN_IF_ERROR(jobs->Delete(*request, caller));
        return google::protobuf::Empty();
      });
}

grpc::ServerUnaryReactor* TrainingService::ListCheckpoints(
    grpc::CallbackServerContext* context, const v1::ListCheckpointsRequest* request,
    v1::ListCheckpointsResponse* response) {
  return CallJobs(context, request, response, &TrainingJobs::ListCheckpoints);
}

grpc::ServerWriteReactor<v1::TrainingEvent>* TrainingService::WatchTrainingJob(
    grpc::CallbackServerContext* context, const v1::WatchTrainingJobRequest* request) {
  return new EventStream<v1::TrainingEvent>(environment_, context, [&](Call call) {
    return std::make_unique<WatchJobSource>(environment_.live_calls, jobs_, *request,
                                            std::move(call));
  });
}

grpc::ServerUnaryReactor* TrainingService::PublishModel(grpc::CallbackServerContext* context,
                                                        const v1::PublishModelRequest* request,
                                                        v1::Model* response) {
  return AnswerOnPool(
      model_environment_, context, response,
      [this, context, request](const Identity& caller) -> absl::StatusOr<v1::Model> {
        RETURN_IF_ERROR(environment_.live_calls->AdmitNewCall());
        RETURN_IF_ERROR(CheckRepeatedCounts(*request));
        ASSIGN_OR_RETURN(TrainingJobs* const jobs, jobs_());
        ASSIGN_OR_RETURN(const ModelHandle model, jobs->Publish(*request, caller, [context] {
          return context->IsCancelled();
        }));
        return ModelToProto({model->id, LoadState::kLoaded, model, absl::OkStatus()});
      });
}

}  // namespace denoise
