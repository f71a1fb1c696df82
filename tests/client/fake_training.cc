#include "tests/client/fake_training.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using google::protobuf::Empty;
using grpc::ServerContext;
using grpc::Status;

// Calls a copy, because a client that has heard enough can return before the handler does, and the
// test may then replace the function.
template <class Function, class... Arguments>
Status AnswerWith(Function function, Arguments&&... arguments) {
  if (!function) return Status(grpc::StatusCode::UNIMPLEMENTED, "the test does not expect this");
  return function(arguments...);
}

}  // namespace

class FakeTraining::Training : public v1::Training::Service {
 public:
  explicit Training(const FakeTraining& fake) : fake_(fake) {}

  Status CreateTrainingJob(ServerContext*, const v1::CreateTrainingJobRequest* request,
                           v1::TrainingJob* job) override {
    return AnswerWith(fake_.create_job, *request, *job);
  }
  Status GetTrainingJob(ServerContext*, const v1::GetTrainingJobRequest* request,
                        v1::TrainingJob* job) override {
    return AnswerWith(fake_.get_job, *request, *job);
  }
  Status CancelTrainingJob(ServerContext*, const v1::CancelTrainingJobRequest* request,
                           v1::TrainingJob* job) override {
    return AnswerWith(fake_.cancel_job, *request, *job);
  }
  Status PauseTrainingJob(ServerContext*, const v1::PauseTrainingJobRequest* request,
                          v1::TrainingJob* job) override {
    return AnswerWith(fake_.pause_job, *request, *job);
  }
  Status ResumeTrainingJob(ServerContext*, const v1::ResumeTrainingJobRequest* request,
                           v1::TrainingJob* job) override {
    return AnswerWith(fake_.resume_job, *request, *job);
  }
  Status ListTrainingJobs(ServerContext*, const v1::ListTrainingJobsRequest* request,
                          v1::ListTrainingJobsResponse* response) override {
    return AnswerWith(fake_.list_jobs, *request, *response);
  }
  Status DeleteTrainingJob(ServerContext*, const v1::DeleteTrainingJobRequest* request,
                           Empty* response) override {
    return AnswerWith(fake_.delete_job, *request, *response);
  }
  Status ListCheckpoints(ServerContext*, const v1::ListCheckpointsRequest* request,
                         v1::ListCheckpointsResponse* response) override {
    return AnswerWith(fake_.list_checkpoints, *request, *response);
  }
  Status PublishModel(ServerContext*, const v1::PublishModelRequest* request,
                      v1::Model* model) override {
    return AnswerWith(fake_.publish, *request, *model);
  }
  Status WatchTrainingJob(ServerContext* context, const v1::WatchTrainingJobRequest* request,
                          grpc::ServerWriter<v1::TrainingEvent>* writer) override {
    return AnswerWith(fake_.watch_job, *context, *request, *writer);
  }

 private:
  const FakeTraining& fake_;
};

class FakeTraining::Datasets : public v1::Datasets::Service {
 public:
  explicit Datasets(const FakeTraining& fake) : fake_(fake) {}

  Status UploadDataset(ServerContext* context, grpc::ServerReader<v1::UploadDatasetRequest>* reader,
                       v1::Dataset* dataset) override {
    return AnswerWith(fake_.upload, *context, *reader, *dataset);
  }
  Status ListDatasets(ServerContext*, const v1::ListDatasetsRequest* request,
                      v1::ListDatasetsResponse* response) override {
    return AnswerWith(fake_.list_datasets, *request, *response);
  }
  Status GetDataset(ServerContext*, const v1::GetDatasetRequest* request,
                    v1::Dataset* dataset) override {
    return AnswerWith(fake_.get_dataset, *request, *dataset);
  }
  Status DeleteDataset(ServerContext*, const v1::DeleteDatasetRequest* request,
                       Empty* response) override {
    return AnswerWith(fake_.delete_dataset, *request, *response);
  }

 private:
  const FakeTraining& fake_;
};

FakeTraining::FakeTraining()
    : training_(std::make_unique<Training>(*this)), datasets_(std::make_unique<Datasets>(*this)) {}

FakeTraining::~FakeTraining() = default;

std::vector<grpc::Service*> FakeTraining::services() const {
  return {training_.get(), datasets_.get()};
}

}  // namespace denoise
