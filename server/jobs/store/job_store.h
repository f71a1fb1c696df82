// Training jobs and their events, on disk: what was acknowledged survives any crash.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "denoised/v1/training.pb.h"
#include "server/jobs/store/database.h"
#include "server/jobs/store/event_feed.h"
#include "server/jobs/store/job_observer.h"
#include "server/jobs/store/job_state.h"

namespace denoise {

// Thread-safe; what it waits for is the disk. A job that is missing is NotFound, with its name; other
// errors are those of Database.
class JobStore {
 public:
  // All outlive the store; `observer` may be null. Watchers of `feed` are woken after every change.
  JobStore(Database* database, EventFeed* feed, const Clock* clock, JobObserver* observer)
      : database_(database), feed_(feed), clock_(clock), observer_(observer) {}

  // For the folder of a job that is to be created.
  absl::StatusOr<int64_t> ReserveId();

  struct NewJob {
    int64_t id = 0;                  // reserved
    std::string request_id;          // may be empty
    std::string request_hash;        // of all of the request
    denoised::v1::TrainingJob job;   // its work, priority, labels and steps_total
    std::vector<int64_t> data_sets;  // which stay while the job is not over
    int max_waiting = 0;             // jobs that may be QUEUED
  };
  // QUEUED, and its first event. ResourceExhausted (quota) where `max_waiting` are QUEUED already;
  // FailedPrecondition where a data set has gone; AlreadyExists where request_id was used.
  absl::StatusOr<denoised::v1::TrainingJob> Create(const NewJob& job);

  // Whether Create would refuse the next job for want of room: before anything is spent on it.
  absl::Status CheckRoom(int max_waiting) const;

  // The job that a request with this id has made; nullopt where there is none, or the id is empty.
  // AlreadyExists where that was another request.
  absl::StatusOr<std::optional<denoised::v1::TrainingJob>> FindRequest(
      const std::string& request_id, const std::string& request_hash) const;

  // As callers see it.
  absl::StatusOr<denoised::v1::TrainingJob> Get(int64_t id) const;

  struct Page {
    std::vector<denoised::v1::TrainingJob> jobs;  // the latest first
    bool more = false;
  };
  // Those created before `before_id` (0: all) in one of `states` (empty: all), at most `limit`, which is
  // at least 1, and kMaxPageBytes. The sheets of evaluations are left out.
  absl::StatusOr<Page> List(const std::vector<JobState>& states, int64_t before_id,
                            int limit) const;

  // NextStatus, and an event where the state changes.
  absl::StatusOr<JobStatus> Apply(int64_t id, JobAction action, const std::string& reason = "");
  absl::StatusOr<JobStatus> Status(int64_t id) const;

  // FailedPrecondition: it is not over. Its folder is the caller's to remove, afterwards.
  absl::Status Delete(int64_t id);

  // Progress, sample grid, checkpoint and evaluation of a step are written once: a run that repeats
  // steps after a crash adds nothing. Sequence, time and a checkpoint's create_time are the store's
  // to give. Progress and checkpoints move the job's steps_done and latest_checkpoint.
  absl::Status AddEvent(int64_t id, denoised::v1::TrainingEvent event);
  // The newest checkpoint that there is, where some were removed or set aside.
  absl::Status SetLatestCheckpoint(int64_t id, std::optional<int64_t> step);

  // Of this kind and step; nullopt where there is none.
  absl::StatusOr<std::optional<denoised::v1::TrainingEvent>> FindEvent(
      int64_t id, denoised::v1::TrainingEvent::EventCase kind, int64_t step) const;
  // Notes that the job was rolled back to its latest checkpoint, or its beginning, with a notice; false,
  // and nothing is changed, where it was before. Steps after that one are told anew: they are others.
  absl::StatusOr<bool> RollBackOnce(int64_t id, const std::string& notice);
  // The step that it was rolled back to; nullopt where it never was.
  absl::StatusOr<std::optional<int64_t>> RolledBackTo(int64_t id) const;

  // A run of the job begins. Returns how many before it were lost: since the last further checkpoint
  // they have begun, and neither told of another nor ended in order.
  absl::StatusOr<int> BeginRun(int64_t id);
  // The run has ended in order, wherever it was.
  absl::Status EndRun(int64_t id);

  struct Events {
    std::vector<denoised::v1::TrainingEvent> events;
    bool over = false;  // the job is over, and has no further event for now
  };
  // Those with a greater sequence number than `after`, at most `limit`, and no more than a few MiB
  // unless one alone is larger.
  absl::StatusOr<Events> EventsAfter(int64_t id, int64_t after, int limit) const;

  // By priority, then age.
  absl::StatusOr<std::vector<int64_t>> InState(JobState state) const;
  // Those PAUSED until there is room on the disk.
  absl::StatusOr<std::vector<int64_t>> WaitingForRoom() const;
  absl::StatusOr<bool> Exists(int64_t id) const;

 private:
  Database* const database_;
  EventFeed* const feed_;
  const Clock* const clock_;
  JobObserver* const observer_;
};

}  // namespace denoise
