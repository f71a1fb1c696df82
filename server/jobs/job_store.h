// Training jobs and their events, on disk: what was acknowledged survives any crash.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "denoised/v1/training.pb.h"
#include "server/jobs/database.h"
#include "server/jobs/event_feed.h"
#include "server/jobs/job_state.h"

namespace denoise {

// Thread-safe. Everything it waits for is the disk. A job that is missing is NotFound, with its name;
// other errors are those of Database.
class JobStore {
 public:
  // All outlive the store. Watchers of `feed` are woken after every change.
  JobStore(Database* database, EventFeed* feed, const Clock* clock);

  // For a job's folder, before the job is there.
  absl::StatusOr<int64_t> ReserveId();

  struct NewJob {
    int64_t id = 0;                  // reserved
    std::string request_id;          // may be empty
    std::string request_hash;        // of all of the request
    denoised::v1::TrainingJob job;   // its work, priority, labels and steps_total
    std::vector<int64_t> data_sets;  // which stay while the job is not over
    int max_waiting = 0;             // jobs that may be QUEUED
  };
  // QUEUED, and its first event. ResourceExhausted (quota) where `max_waiting` are QUEUED already.
  // FailedPrecondition where a data set has gone. AlreadyExists as FindRequest.
  absl::StatusOr<denoised::v1::TrainingJob> Create(const NewJob& job);

  // The job that a request with this id has made; nullopt where there is none. AlreadyExists where
  // that was another request.
  absl::StatusOr<std::optional<denoised::v1::TrainingJob>> FindRequest(
      std::string_view request_id, std::string_view request_hash) const;

  // As callers see it. In lists the evaluation's sheet of pictures is left out.
  absl::StatusOr<denoised::v1::TrainingJob> Get(int64_t id) const;
  struct Page {
    std::vector<denoised::v1::TrainingJob> jobs;  // the latest first
    bool more = false;
  };
  // Those before `before_id` (0: all) in one of `states` (empty: all), at most `limit`.
  absl::StatusOr<Page> List(const std::vector<JobState>& states, int64_t before_id,
                            int limit) const;

  // NextStatus, and the event where its state changes. FailedPrecondition as NextStatus.
  absl::StatusOr<JobStatus> Apply(int64_t id, JobAction action, std::string_view reason = "");
  absl::StatusOr<JobStatus> Status(int64_t id) const;

  // FailedPrecondition: it is not over. Its folder is the caller's to remove, afterwards.
  absl::Status Delete(int64_t id);

  // Progress, sample grids, checkpoints and evaluations of a step are written once: a run that
  // repeats steps after a crash adds nothing. Sequence and time of `event` are the store's to give.
  absl::Status AddEvent(int64_t id, denoised::v1::TrainingEvent event);

  struct Events {
    std::vector<denoised::v1::TrainingEvent> events;
    bool over = false;  // the job is over, and these are the last for now
  };
  // Those with a greater sequence number than `after`, as many as `limit` and a few MiB at a time
  // allow; at least one where there are any.
  absl::StatusOr<Events> EventsAfter(int64_t id, int64_t after, int limit) const;

  // For the runner. By priority, then age.
  absl::StatusOr<std::vector<int64_t>> InState(JobState state) const;
  // PAUSED until there is room on the disk.
  absl::StatusOr<std::vector<int64_t>> WaitingForRoom() const;
  // Time spent training, for max_duration, and whether it was rolled back: kept with each checkpoint.
  absl::StatusOr<std::vector<int64_t>> Ids() const;

 private:
  Database* const database_;
  EventFeed* const feed_;
  const Clock* const clock_;
};

}  // namespace denoise
