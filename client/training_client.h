// Training jobs and data sets of a server, in C++.
//
//     denoise::TrainingClient client({.address = "127.0.0.1:50051"});
//     auto job = client.CreateJob(request);
//     denoise::TrainingStream stream = client.Watch(job->name(), /*resume_after=*/0);
//     while (true) {
//       auto event = stream.Next();
//       if (!event.ok()) return event.status();  // UNAVAILABLE: watch again after the last sequence
//       if (!event->has_value()) break;          // the job is over
//       Show(**event);
//     }
//
// Errors are those of client.h. Watch, Publish and Upload take their time: no deadline holds for
// them but that of generations.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client_options.h"
#include "client/server_stream.h"
#include "core/base/mutex.h"
#include "denoised/v1/datasets.pb.h"
#include "denoised/v1/models.pb.h"
#include "denoised/v1/training.pb.h"

namespace grpc {
class ClientContext;
}

namespace denoise {

// What an upload is made of: the same bytes whenever they are asked for.
class UploadSource {
 public:
  virtual ~UploadSource() = default;
  // Goes to `offset`, from which Read continues.
  virtual absl::Status Seek(int64_t offset) = 0;
  // The next at most `max_bytes`; empty at the end.
  virtual absl::StatusOr<std::string> Read(size_t max_bytes) = 0;
};

// Gives up an upload from another thread, such as the one that waits for signals. Outlives the
// upload. Thread-safe.
class UploadCancellation {
 public:
  // Makes the running Upload, or the next, return CANCELLED. Does not block.
  void Cancel();

 private:
  friend class TrainingClient;

  // Null once the call has ended.
  void SetCall(grpc::ClientContext* call);

  Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* call_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

// One connection. Movable; every method is thread-safe. Names are full ("trainingJobs/a1b2",
// "datasets/emoji") or their last part for short.
class TrainingClient {
 public:
  explicit TrainingClient(ClientOptions options = {});
  TrainingClient(TrainingClient&&) noexcept;
  TrainingClient& operator=(TrainingClient&&) noexcept;
  ~TrainingClient();

  absl::StatusOr<denoised::v1::TrainingJob> CreateJob(
      const denoised::v1::CreateTrainingJobRequest& request);
  absl::StatusOr<denoised::v1::TrainingJob> GetJob(std::string_view name);
  // In one of `states`, or all where there are none; the latest first.
  absl::StatusOr<std::vector<denoised::v1::TrainingJob>> ListJobs(
      const std::vector<denoised::v1::TrainingJob::State>& states = {});
  absl::StatusOr<denoised::v1::TrainingJob> CancelJob(std::string_view name);
  absl::StatusOr<denoised::v1::TrainingJob> PauseJob(std::string_view name);
  absl::StatusOr<denoised::v1::TrainingJob> ResumeJob(std::string_view name);
  absl::Status DeleteJob(std::string_view name);
  absl::StatusOr<std::vector<denoised::v1::Checkpoint>> ListCheckpoints(std::string_view job);
  // Events with a sequence above `resume_after`; the stream ends once the job is over.
  TrainingStream Watch(std::string_view name, int64_t resume_after = 0);
  absl::StatusOr<denoised::v1::Model> Publish(const denoised::v1::PublishModelRequest& request);

  absl::StatusOr<std::vector<denoised::v1::Dataset>> ListDatasets();
  absl::StatusOr<denoised::v1::Dataset> GetDataset(std::string_view name);
  absl::Status DeleteDataset(std::string_view name);
  // Sends what the server lacks of `source`, from header.offset on, in chunks with checksums, and
  // waits until it has been read. `progress` hears, after each chunk, how many bytes of it all have
  // been handed over. After `cancellation`, which may be null, what was sent stays there.
  absl::StatusOr<denoised::v1::Dataset> Upload(const denoised::v1::UploadHeader& header,
                                               UploadSource& source,
                                               const std::function<void(int64_t)>& progress = {},
                                               UploadCancellation* cancellation = nullptr);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// "trainingJobs/a1b2" for "a1b2" and for itself; "datasets/emoji" likewise.
std::string TrainingJobResourceName(std::string_view name);
std::string DatasetResourceName(std::string_view name);
// "a1b2" for "trainingJobs/a1b2" and for itself; "emoji" likewise.
std::string ShortTrainingJobName(std::string_view name);
std::string ShortDatasetName(std::string_view name);

}  // namespace denoise
