// Everything that the service Training does, without gRPC.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "denoised/v1/training.pb.h"
#include "server/engine/engine.h"
#include "server/jobs/datasets/data_set_store.h"
#include "server/jobs/store/event_feed.h"
#include "server/jobs/store/job_observer.h"
#include "server/jobs/store/job_store.h"
#include "server/jobs/store/state_dir.h"
#include "server/models/model_repository.h"
#include "server/models/models_folder.h"

namespace denoise {

struct TrainingJobsOptions {
  int max_running_jobs = 1;
  int max_waiting_jobs = 100;                         // QUEUED
  int max_sampler_steps = 1000;                       // of grids and evaluations
  int64_t max_micro_batch_pixels = int64_t{1} << 22;  // of a network call in training
  std::filesystem::path inception;                    // weights for FEATURES_INCEPTION; empty: none
};

// Thread-safe. Methods wait for the disk, Create and Publish for a model to be loaded, too: call them
// off gRPC's threads. Errors are those of training.proto; invalid fields are named by their path in
// the request.
class TrainingJobs {
 public:
  struct Environment {
    const StateDir* state;
    Database* database;
    DataSetStore* data_sets;
    Engine* engine;
    ModelRepository* models;
    const ModelsFolder* models_folder;
    const Clock* clock;
    JobObserver* observer = nullptr;  // may be null
  };
  // Jobs that were running when the server ended go on. Everything outlives the object.
  static absl::StatusOr<std::unique_ptr<TrainingJobs>> Start(const Environment& environment,
                                                             const TrainingJobsOptions& options);
  ~TrainingJobs();  // Stop(now)

  absl::StatusOr<denoised::v1::TrainingJob> Create(
      const denoised::v1::CreateTrainingJobRequest& request);
  absl::StatusOr<denoised::v1::TrainingJob> Get(const denoised::v1::GetTrainingJobRequest& request);
  absl::StatusOr<denoised::v1::ListTrainingJobsResponse> List(
      const denoised::v1::ListTrainingJobsRequest& request);
  absl::StatusOr<denoised::v1::TrainingJob> Cancel(
      const denoised::v1::CancelTrainingJobRequest& request);
  absl::StatusOr<denoised::v1::TrainingJob> Pause(
      const denoised::v1::PauseTrainingJobRequest& request);
  absl::StatusOr<denoised::v1::TrainingJob> Resume(
      const denoised::v1::ResumeTrainingJobRequest& request);
  absl::Status Delete(const denoised::v1::DeleteTrainingJobRequest& request);
  absl::StatusOr<denoised::v1::ListCheckpointsResponse> ListCheckpoints(
      const denoised::v1::ListCheckpointsRequest& request);
  // What was published, as it is now served; a Model of the contract is made of it.
  absl::StatusOr<ModelHandle> Publish(const denoised::v1::PublishModelRequest& request);

  // One watcher of a job, from where the request says. Used by one thread at a time.
  class Watcher {
   public:
    // The next event; nullopt where there is none now: `over()` says that none will come, else `wake`
    // is called once there may be.
    absl::StatusOr<std::optional<denoised::v1::TrainingEvent>> Next();
    bool over() const { return over_; }

   private:
    friend class TrainingJobs;
    Watcher(const JobStore* store, int64_t job, int64_t after)
        : store_(store), job_(job), last_(after) {}

    const JobStore* const store_;
    const int64_t job_;
    int64_t last_;                                  // sequence number that was read
    std::deque<denoised::v1::TrainingEvent> read_;  // and not handed over yet
    bool over_ = false;
    std::unique_ptr<EventFeed::Subscription> subscription_;
  };
  // `wake` is called from other threads, see EventFeed::Subscribe.
  absl::StatusOr<std::unique_ptr<Watcher>> Watch(
      const denoised::v1::WatchTrainingJobRequest& request, std::function<void()> wake);

  // Running jobs stop where they are and write a checkpoint, as far as they have by `deadline`; they
  // stay RUNNING and go on when the server is started again. Watchers are woken.
  void Stop(absl::Time deadline);

 private:
  class Impl;
  explicit TrainingJobs(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace denoise
