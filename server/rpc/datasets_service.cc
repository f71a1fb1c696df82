#include "server/rpc/datasets_service.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "core/base/field_violations.h"
#include "core/base/object_count.h"
#include "core/base/status_macros.h"
#include "core/base/thread_order.h"
#include "server/rpc/call_end.h"
#include "server/rpc/unary_answer.h"
#include "server/telemetry/log.h"

namespace denoise {

namespace v1 = denoised::v1;

namespace {

// One UploadDataset call. One message is on its way at a time: it is written to the disk on the
// pool before the next is asked for, so an upload holds no more memory than a message, however fast
// it comes.
//
// Deletes itself when gRPC is done with it. Never blocks one of gRPC's threads.
class UploadStream final : public grpc::ServerReadReactor<v1::UploadDatasetRequest> {
 public:
  // `context` and `response` are gRPC's, and live until OnDone.
  UploadStream(const CallEnvironment& environment, grpc::CallbackServerContext* context,
               DatasetsService::Source data_sets, v1::Dataset* response);

  void OnReadDone(bool ok) override;
  void OnDone() override;

 private:
  ~UploadStream() override = default;

  absl::Status Admit();
  void ReadNext();
  // On the pool.
  void Take();
  absl::Status TakeMessage();
  absl::Status Begin(const v1::UploadHeader& header);
  void TakeEnd();
  void End(const absl::StatusOr<v1::Dataset>& result);

  const CallEnvironment environment_;
  const CountedObject counted_;
  grpc::CallbackServerContext* const context_;
  const DatasetsService::Source data_sets_;
  v1::Dataset* const response_;
  const std::shared_ptr<CallRecord> record_;
  const std::shared_ptr<WatchedCall> watched_call_;
  Identity caller_;
  v1::UploadDatasetRequest message_;       // being read, then being taken
  std::string name_;                       // the full one
  std::unique_ptr<DataSetUpload> upload_;  // once there was a header
  int64_t bytes_ = 0;                      // received by this call
};

UploadStream::UploadStream(const CallEnvironment& environment, grpc::CallbackServerContext* context,
                           DatasetsService::Source data_sets, v1::Dataset* response)
    : environment_(environment),
      counted_(environment.counts.uploads),
      context_(context),
      data_sets_(std::move(data_sets)),
      response_(response),
      record_(RecordOf(*context)),
      watched_call_(
          std::make_shared<WatchedCall>(context, environment.clock, environment.write_time_max)) {
  environment_.live_calls->Add();
  environment_.call_watch->Add(watched_call_);
  const absl::Status status = CatchAsInternal("an upload failed", [this] { return Admit(); });
  if (!status.ok()) {
    End(status);
    return;
  }
  ReadNext();
}

absl::Status UploadStream::Admit() {
  ASSIGN_OR_RETURN(caller_, IdentifyCaller(environment_.access, *context_));
  return environment_.live_calls->AdmitNewCall();
}

void UploadStream::ReadNext() {
  watched_call_->BeginWait();
  BeforeHandOver(this);
  StartRead(&message_);
}

void UploadStream::OnReadDone(bool ok) {
  AfterHandOver(this);
  watched_call_->EndWait();
  BeforeHandOver(this);
  environment_.pool->Schedule([this, ok] {
    AfterHandOver(this);
    const absl::Status status = CatchAsInternal("an upload failed", [this, ok] {
      ok ? Take() : TakeEnd();
      return absl::OkStatus();
    });
    if (!status.ok()) End(status);
  });
}

void UploadStream::Take() {
  absl::Status status = environment_.live_calls->CheckNotDraining();
  if (status.ok()) status = TakeMessage();
  if (!status.ok()) return End(status);
  ReadNext();
}

absl::Status UploadStream::TakeMessage() {
  switch (message_.message_case()) {
    case v1::UploadDatasetRequest::kHeader:
      if (upload_) return InvalidField("header", "must be in the first message only");
      return Begin(message_.header());
    case v1::UploadDatasetRequest::kChunk:
      if (!upload_) return InvalidField("header", "must be in the first message");
      bytes_ += static_cast<int64_t>(message_.chunk().data().size());
      return upload_->Append(message_.chunk());
    case v1::UploadDatasetRequest::MESSAGE_NOT_SET:
      break;
  }
  return InvalidField("message", "must be a header or a chunk");
}

absl::Status UploadStream::Begin(const v1::UploadHeader& header) {
  name_ = FullName(caller_.tenant, header.name());
  ASSIGN_OR_RETURN(DataSetStore* const data_sets, data_sets_());
  ASSIGN_OR_RETURN(upload_, data_sets->BeginUpload(header, caller_));
  return absl::OkStatus();
}

// The caller has said everything, or has gone.
void UploadStream::TakeEnd() {
  if (context_->IsCancelled()) return End(CallerGone());
  if (!upload_) {
    return End(InvalidField("header",
                            "must be in the first message; the call ended before a message that "
                            "UploadDataset takes: is "
                            "the client built from this server's .proto files?"));
  }
  // The answer may come, and the call be over, before Finish returns.
  std::unique_ptr<DataSetUpload> upload = std::move(upload_);
  BeforeHandOver(this);
  const auto end = [this](absl::StatusOr<v1::Dataset> result) {
    AfterHandOver(this);
    End(result);
  };
  const absl::Status status = upload->Finish(end, [this] { return context_->IsCancelled(); });
  if (status.ok()) return;
  upload.reset();  // what came is safe before this call is heard of
  End(status);
}

void UploadStream::End(const absl::StatusOr<v1::Dataset>& result) {
  upload_.reset();  // another call may go on before this one is heard of
  grpc::Status last = LastStatus(*record_, *context_, [&] {
    const absl::Status& status = result.status();
    LogEvent(LevelOf(status), "upload finished",
             {{"request", record_->id()},
              {"trace_id", record_->trace_id()},
              {"dataset", name_},
              {"code", absl::StatusCodeToString(status.code())},
              {"message", std::string(status.message())},
              {"bytes", bytes_}});
    record_->Add({{"dataset", name_}, {"bytes_received", bytes_}});
    if (result.ok()) *response_ = *result;
    return status;
  });
  watched_call_->BeginWait();  // which OnDone ends
  BeforeHandOver(this);
  Finish(std::move(last));
}

void UploadStream::OnDone() {
  AfterHandOver(this);
  watched_call_->Leave();
  LiveCalls* const live_calls = environment_.live_calls;
  delete this;
  live_calls->Remove();
}

}  // namespace

grpc::ServerReadReactor<v1::UploadDatasetRequest>* DatasetsService::UploadDataset(
    grpc::CallbackServerContext* context, v1::Dataset* response) {
  return new UploadStream(environment_, context, data_sets_, response);
}

grpc::ServerUnaryReactor* DatasetsService::ListDatasets(grpc::CallbackServerContext* context,
                                                        const v1::ListDatasetsRequest* request,
                                                        v1::ListDatasetsResponse* response) {
  return AnswerOnPool(
      environment_, context, response,
      [this, request](const Identity& caller) -> absl::StatusOr<v1::ListDatasetsResponse> {
        ASSIGN_OR_RETURN(DataSetStore* const data_sets, data_sets_());
        return data_sets->List(*request, caller);
      });
}

grpc::ServerUnaryReactor* DatasetsService::GetDataset(grpc::CallbackServerContext* context,
                                                      const v1::GetDatasetRequest* request,
                                                      v1::Dataset* response) {
  return AnswerOnPool(environment_, context, response,
                      [this, request](const Identity& caller) -> absl::StatusOr<v1::Dataset> {
                        ASSIGN_OR_RETURN(DataSetStore* const data_sets, data_sets_());
                        return data_sets->Get(*request, caller);
                      });
}

grpc::ServerUnaryReactor* DatasetsService::DeleteDataset(grpc::CallbackServerContext* context,
                                                         const v1::DeleteDatasetRequest* request,
                                                         google::protobuf::Empty* response) {
  return AnswerOnPool(
      environment_, context, response,
      [this, request](const Identity& caller) -> absl::StatusOr<google::protobuf::Empty> {
        RETURN_IF_ERROR(environment_.live_calls->AdmitNewCall());
        ASSIGN_OR_RETURN(DataSetStore* const data_sets, data_sets_());
        RETURN_IF_ERROR(data_sets->Delete(*request, caller));
        return google::protobuf::Empty();
      });
}

}  // namespace denoise
