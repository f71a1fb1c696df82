#include "client/training_client.h"

#include <grpcpp/support/sync_stream.h>
#include <zlib.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/connection.h"
#include "core/base/status_macros.h"
#include "denoised/v1/datasets.grpc.pb.h"
#include "denoised/v1/training.grpc.pb.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using google::protobuf::Empty;

constexpr char kJobsPrefix[] = "trainingJobs/";
constexpr char kDatasetsPrefix[] = "datasets/";
constexpr size_t kChunkBytes = size_t{1} << 18;

std::string WithPrefix(std::string_view prefix, std::string_view name) {
  return name.starts_with(prefix) ? std::string(name) : std::string(prefix).append(name);
}

std::string WithoutPrefix(std::string_view prefix, std::string_view name) {
  if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  return std::string(name);
}

template <class Request>
Request Named(std::string name) {
  Request request;
  request.set_name(std::move(name));
  return request;
}

v1::UploadDatasetRequest Chunk(std::string data) {
  v1::UploadDatasetRequest message;
  v1::UploadChunk& chunk = *message.mutable_chunk();
  const auto* const bytes = reinterpret_cast<const Bytef*>(data.data());
  chunk.set_crc32(static_cast<uint32_t>(crc32_z(0, bytes, data.size())));
  chunk.set_data(std::move(data));
  return message;
}

}  // namespace

class TrainingClient::Impl {
 public:
  explicit Impl(ClientOptions options)
      : connection(std::move(options)),
        training(v1::Training::NewStub(connection.channel())),
        datasets(v1::Datasets::NewStub(connection.channel())) {}

  template <typename Request, typename Method>
  absl::StatusOr<v1::TrainingJob> CallJob(Method method, std::string_view name) const {
    return connection.Call<v1::TrainingJob>(*training, method,
                                            Named<Request>(TrainingJobResourceName(name)));
  }

  // Constant after construction.
  const Connection connection;
  const std::unique_ptr<v1::Training::Stub> training;
  const std::unique_ptr<v1::Datasets::Stub> datasets;
};

TrainingClient::TrainingClient(ClientOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}
TrainingClient::TrainingClient(TrainingClient&&) noexcept = default;
TrainingClient& TrainingClient::operator=(TrainingClient&&) noexcept = default;
TrainingClient::~TrainingClient() = default;

absl::StatusOr<v1::TrainingJob> TrainingClient::CreateJob(
    const v1::CreateTrainingJobRequest& request) {
  return impl_->connection.Call<v1::TrainingJob>(*impl_->training,
                                                 &v1::Training::Stub::CreateTrainingJob, request);
}

absl::StatusOr<v1::TrainingJob> TrainingClient::GetJob(std::string_view name) {
  return impl_->CallJob<v1::GetTrainingJobRequest>(&v1::Training::Stub::GetTrainingJob, name);
}

absl::StatusOr<std::vector<v1::TrainingJob>> TrainingClient::ListJobs(
    const std::vector<v1::TrainingJob::State>& states) {
  v1::ListTrainingJobsRequest request;
  for (const v1::TrainingJob::State state : states) request.add_states(state);
  return impl_->connection.ListAll<v1::TrainingJob, v1::ListTrainingJobsResponse>(
      *impl_->training, &v1::Training::Stub::ListTrainingJobs, std::move(request),
      &v1::ListTrainingJobsResponse::mutable_jobs);
}

absl::StatusOr<v1::TrainingJob> TrainingClient::CancelJob(std::string_view name) {
  return impl_->CallJob<v1::CancelTrainingJobRequest>(&v1::Training::Stub::CancelTrainingJob, name);
}

absl::StatusOr<v1::TrainingJob> TrainingClient::PauseJob(std::string_view name) {
  return impl_->CallJob<v1::PauseTrainingJobRequest>(&v1::Training::Stub::PauseTrainingJob, name);
}

absl::StatusOr<v1::TrainingJob> TrainingClient::ResumeJob(std::string_view name) {
  return impl_->CallJob<v1::ResumeTrainingJobRequest>(&v1::Training::Stub::ResumeTrainingJob, name);
}

absl::Status TrainingClient::DeleteJob(std::string_view name) {
  return impl_->connection
      .Call<Empty>(*impl_->training, &v1::Training::Stub::DeleteTrainingJob,
                   Named<v1::DeleteTrainingJobRequest>(TrainingJobResourceName(name)))
      .status();
}

absl::StatusOr<std::vector<v1::Checkpoint>> TrainingClient::ListCheckpoints(std::string_view job) {
  v1::ListCheckpointsRequest request;
  request.set_parent(TrainingJobResourceName(job));
  return impl_->connection.ListAll<v1::Checkpoint, v1::ListCheckpointsResponse>(
      *impl_->training, &v1::Training::Stub::ListCheckpoints, std::move(request),
      &v1::ListCheckpointsResponse::mutable_checkpoints);
}

TrainingStream TrainingClient::Watch(std::string_view name, int64_t resume_after) {
  v1::WatchTrainingJobRequest request;
  request.set_name(TrainingJobResourceName(name));
  if (resume_after > 0) request.set_resume_after(resume_after);
  return impl_->connection.Stream<v1::TrainingEvent>(*impl_->training,
                                                     &v1::Training::Stub::WatchTrainingJob, request,
                                                     impl_->connection.options().generate_deadline,
                                                     /*may_be_empty=*/request.has_resume_after());
}

absl::StatusOr<v1::Model> TrainingClient::Publish(const v1::PublishModelRequest& request) {
  return impl_->connection.Call<v1::Model>(*impl_->training, &v1::Training::Stub::PublishModel,
                                           request, impl_->connection.options().generate_deadline);
}

absl::StatusOr<std::vector<v1::Dataset>> TrainingClient::ListDatasets() {
  return impl_->connection.ListAll<v1::Dataset, v1::ListDatasetsResponse>(
      *impl_->datasets, &v1::Datasets::Stub::ListDatasets, v1::ListDatasetsRequest(),
      &v1::ListDatasetsResponse::mutable_datasets);
}

absl::StatusOr<v1::Dataset> TrainingClient::GetDataset(std::string_view name) {
  return impl_->connection.Call<v1::Dataset>(
      *impl_->datasets, &v1::Datasets::Stub::GetDataset,
      Named<v1::GetDatasetRequest>(DatasetResourceName(name)));
}

absl::Status TrainingClient::DeleteDataset(std::string_view name) {
  return impl_->connection
      .Call<Empty>(*impl_->datasets, &v1::Datasets::Stub::DeleteDataset,
                   Named<v1::DeleteDatasetRequest>(DatasetResourceName(name)))
      .status();
}

absl::StatusOr<v1::Dataset> TrainingClient::Upload(const v1::UploadHeader& header,
                                                   UploadSource& source,
                                                   const std::function<void(int64_t)>& progress,
                                                   UploadCancellation* cancellation) {
  RETURN_IF_ERROR(source.Seek(header.offset()));
  grpc::ClientContext context;
  impl_->connection.Prepare(context, impl_->connection.options().generate_deadline);
  v1::Dataset dataset;
  const auto writer = impl_->datasets->UploadDataset(&context, &dataset);
  if (cancellation != nullptr) cancellation->SetCall(&context);
  v1::UploadDatasetRequest message;
  *message.mutable_header() = header;
  // A write that fails means that the call has ended: Finish says why.
  bool open = writer->Write(message);
  absl::Status own_failure;
  for (int64_t sent = header.offset(); open;) {
    absl::StatusOr<std::string> data = source.Read(kChunkBytes);
    if (!data.ok()) own_failure = data.status();
    if (!data.ok() || data->empty()) break;
    sent += static_cast<int64_t>(data->size());
    open = writer->Write(Chunk(*std::move(data)));
    if (open && progress) progress(sent);
  }
  if (!own_failure.ok()) {
    context.TryCancel();
  } else {
    writer->WritesDone();
  }
  const grpc::Status status = writer->Finish();
  if (cancellation != nullptr) cancellation->SetCall(nullptr);
  RETURN_IF_ERROR(own_failure);
  if (!status.ok()) return impl_->connection.StatusOf(status);
  return dataset;
}

void UploadCancellation::Cancel() {
  const MutexLock lock(mutex_);
  cancelled_ = true;
  if (call_ != nullptr) call_->TryCancel();
}

void UploadCancellation::SetCall(grpc::ClientContext* call) {
  const MutexLock lock(mutex_);
  call_ = call;
  if (call_ != nullptr && cancelled_) call_->TryCancel();
}

std::string TrainingJobResourceName(std::string_view name) { return WithPrefix(kJobsPrefix, name); }

std::string DatasetResourceName(std::string_view name) { return WithPrefix(kDatasetsPrefix, name); }

std::string ShortTrainingJobName(std::string_view name) { return WithoutPrefix(kJobsPrefix, name); }

std::string ShortDatasetName(std::string_view name) { return WithoutPrefix(kDatasetsPrefix, name); }

}  // namespace denoise
