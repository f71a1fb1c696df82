// The service Training, without gRPC.
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
#include "server/identity/identity.h"
#include "server/jobs/datasets/data_set_store.h"
#include "server/jobs/ranks/rank_gathering.h"
#include "server/jobs/store/event_feed.h"
#include "server/jobs/store/job_observer.h"
#include "server/jobs/store/job_store.h"
#include "server/jobs/store/state_dir.h"
#include "server/models/live_models.h"
#include "server/models/model_repository.h"

namespace denoise {

struct TrainingJobsOptions {
  int max_running_jobs = 1;
  int max_waiting_jobs = 100;                         // QUEUED
  int max_sampler_steps = 1000;                       // of grids and evaluations
  int64_t max_micro_batch_pixels = int64_t{1} << 22;  // per network call in training
  std::filesystem::path inception;                    // weights for INCEPTION features; empty: none
  RankGatherings* ranks = nullptr;                    // see RunEnvironment
};

// Thread-safe. Methods wait for the disk, and Create and Publish for a model to load: do not call
// them on gRPC's threads. Errors are those of training.proto; invalid fields are named by their
// path in the request. A job that the caller does not see is NotFound, as one that there is not.
class TrainingJobs {
 public:
  struct Environment {
    const StateDir* state;
    Database* database;
    DataSetStore* data_sets;
    Engine* engine;
    ModelRepository* models;
    LiveModels* live_models;
    const Clock* clock;
    JobObserver* observer = nullptr;  // may be null
  };
  // Resumes the jobs that were running when the server ended. Everything outlives the object.
  static absl::StatusOr<std::unique_ptr<TrainingJobs>> Start(const Environment& environment,
                                                             const TrainingJobsOptions& options);
  ~TrainingJobs();  // Stop(now)

  absl::StatusOr<denoised::v1::TrainingJob> Create(
      const denoised::v1::CreateTrainingJobRequest& request, const Identity& caller);
  absl::StatusOr<denoised::v1::TrainingJob> Get(const denoised::v1::GetTrainingJobRequest& request,
                                                const Identity& caller);
  absl::StatusOr<denoised::v1::ListTrainingJobsResponse> List(
      const denoised::v1::ListTrainingJobsRequest& request, const Identity& caller);
  absl::StatusOr<denoised::v1::TrainingJob> Cancel(
      const denoised::v1::CancelTrainingJobRequest& request, const Identity& caller);
  absl::StatusOr<denoised::v1::TrainingJob> Pause(
      const denoised::v1::PauseTrainingJobRequest& request, const Identity& caller);
  absl::StatusOr<denoised::v1::TrainingJob> Resume(
      const denoised::v1::ResumeTrainingJobRequest& request, const Identity& caller);
  absl::Status Delete(const denoised::v1::DeleteTrainingJobRequest& request,
                      const Identity& caller);
  absl::StatusOr<denoised::v1::ListCheckpointsResponse> ListCheckpoints(
      const denoised::v1::ListCheckpointsRequest& request, const Identity& caller);
  // Returns the published model as it is served. Cancelled: the caller has gone.
  absl::StatusOr<ModelHandle> Publish(const denoised::v1::PublishModelRequest& request,
                                      const Identity& caller,
                                      const LiveModels::IsCancelled& is_cancelled = nullptr);

  // Watches a job, starting where the request says. Used by one thread at a time.
  class Watcher {
   public:
    // The next event. nullopt where there is none yet: either over() is true and none will come, or
    // `wake` is called once there may be one.
    absl::StatusOr<std::optional<denoised::v1::TrainingEvent>> Next();
    bool over() const { return over_; }

   private:
    friend class TrainingJobs;
    Watcher(const JobStore* store, int64_t job, int64_t after)
        : store_(store), job_(job), last_(after) {}

    const JobStore* const store_;
    const int64_t job_;
    int64_t last_;                                  // the sequence number returned last
    std::deque<denoised::v1::TrainingEvent> read_;  // but not returned yet
    bool over_ = false;
    std::unique_ptr<EventFeed::Subscription> subscription_;
  };
  // `wake` is called on other threads, see EventFeed::Subscribe.
  absl::StatusOr<std::unique_ptr<Watcher>> Watch(
      const denoised::v1::WatchTrainingJobRequest& request, const Identity& caller,
      std::function<void()> wake);

  // Stops the running jobs where they are. Each saves a checkpoint, unless it has not begun to by
  // `deadline` of the environment's clock; it stays RUNNING and resumes when the server starts
  // again. Watchers are woken.
  void Stop(absl::Time deadline);

 private:
  class Impl;
  explicit TrainingJobs(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace denoise
