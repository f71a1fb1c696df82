// Training jobs and their events on disk. What was acknowledged survives any crash.
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
#include "server/identity/identity.h"
#include "server/jobs/store/database.h"
#include "server/jobs/store/event_feed.h"
#include "server/jobs/store/job_observer.h"
#include "server/jobs/store/job_state.h"

namespace denoise {

// Thread-safe; methods wait for the disk. NotFound names the job that is missing; other errors are
// those of Database.
class JobStore {
 public:
  // Everything outlives the store; `observer` may be null. `feed` is notified of every change.
  JobStore(Database* database, EventFeed* feed, const Clock* clock, JobObserver* observer)
      : database_(database), feed_(feed), clock_(clock), observer_(observer) {}

  // Reserves the id of a new job, for its folder.
  absl::StatusOr<int64_t> ReserveId();

  struct NewJob {
    int64_t id = 0;                  // reserved
    std::string request_id;          // may be empty
    std::string request_hash;        // of the whole request
    denoised::v1::TrainingJob job;   // with work, priority, labels, steps_total and tenant
    std::vector<int64_t> data_sets;  // cannot be deleted until the job is over
    int max_waiting = 0;             // how many jobs may be QUEUED
  };
  // Creates the job, QUEUED, and its first event. ResourceExhausted (quota): `max_waiting` jobs are
  // QUEUED already. FailedPrecondition: a data set was deleted. AlreadyExists: the tenant has used
  // request_id.
  absl::StatusOr<denoised::v1::TrainingJob> Create(const NewJob& job);

  // A job that was found on the disk.
  struct AdoptedJob {
    int64_t id = 0;  // not in use
    std::string request_id;
    std::string request_hash;
    std::vector<denoised::v1::TrainingEvent> checkpoints;  // that are there, the oldest first
    denoised::v1::TrainingJob job;                         // as for NewJob
    std::string data_set;                                  // "datasets/emoji"
    absl::Time create_time;
  };
  // Adds it: SUCCEEDED if its last step has a checkpoint, PAUSED until a caller resumes it if not.
  absl::Status Adopt(const AdoptedJob& job);

  // What NewJob::job was.
  absl::StatusOr<denoised::v1::TrainingJob> GetCreated(int64_t id) const;

  // Fails as Create would if the queue is full, so that no work is wasted on the job.
  absl::Status CheckRoom(int max_waiting) const;

  // The job that a tenant's request with this id created; nullopt where there is none, or the id is
  // empty. AlreadyExists where that was a different request.
  absl::StatusOr<std::optional<denoised::v1::TrainingJob>> FindRequest(
      const std::string& tenant, const std::string& request_id,
      const std::string& request_hash) const;

  // The job as callers see it, but with the full name of its data set.
  absl::StatusOr<denoised::v1::TrainingJob> Get(int64_t id) const;
  absl::StatusOr<std::string> TenantOf(int64_t id) const;

  struct Page {
    std::vector<denoised::v1::TrainingJob> jobs;  // newest first
    bool more = false;
  };
  // The jobs that `viewer` sees, created before `before_id` (0: all) in one of `states` (empty: all),
  // up to `limit`, at least 1, and up to kMaxPageBytes. Without the sheets of evaluations.
  absl::StatusOr<Page> List(const Identity& viewer, const std::vector<JobState>& states,
                            int64_t before_id, int limit) const;

  // Applies `action` (NextStatus), and adds an event if the state changes.
  absl::StatusOr<JobStatus> Apply(int64_t id, JobAction action, const std::string& reason = "");
  absl::StatusOr<JobStatus> Status(int64_t id) const;

  // FailedPrecondition: the job is not over. Its folder is the caller's. Also on a full disk.
  absl::Status Delete(int64_t id);

  // Progress, sample grid, checkpoint and evaluation of a step are written once; a run that repeats
  // steps after a crash adds nothing. The store sets the sequence number, the time and a
  // checkpoint's create_time. Progress and checkpoints update the job's steps_done and
  // latest_checkpoint.
  absl::Status AddEvent(int64_t id, denoised::v1::TrainingEvent event);
  // Corrects the newest checkpoint where some were removed or set aside.
  absl::Status SetLatestCheckpoint(int64_t id, std::optional<int64_t> step);

  // The event of this kind and step; nullopt where there is none.
  absl::StatusOr<std::optional<denoised::v1::TrainingEvent>> FindEvent(
      int64_t id, denoised::v1::TrainingEvent::EventCase kind, int64_t step) const;
  // Records, with a notice, that the job is rolled back to its latest checkpoint or its beginning.
  // False, without a change, if that has happened before. Later steps are reported again, as they
  // will differ.
  absl::StatusOr<bool> RollBackOnce(int64_t id, const std::string& notice);
  // The step that the job was rolled back to; nullopt where it never was.
  absl::StatusOr<std::optional<int64_t>> RolledBackTo(int64_t id) const;

  // Records that a run of the job begins. Returns how many runs were lost: they have begun since
  // the last new checkpoint, and neither saved another one nor ended cleanly.
  absl::StatusOr<int> BeginRun(int64_t id);
  // Records that the run has ended cleanly.
  absl::Status EndRun(int64_t id);

  struct Events {
    std::vector<denoised::v1::TrainingEvent> events;
    bool over = false;  // the job is over, and these were its last events
  };
  // The events with sequence numbers above `after`, up to `limit` and up to a few MiB, but at least
  // one.
  absl::StatusOr<Events> EventsAfter(int64_t id, int64_t after, int limit) const;

  // The ids by priority, then age.
  absl::StatusOr<std::vector<int64_t>> InState(JobState state) const;
  // The jobs that are PAUSED until there is room on the disk.
  absl::StatusOr<std::vector<int64_t>> WaitingForRoom() const;
  absl::StatusOr<bool> Exists(int64_t id) const;

 private:
  Database* const database_;
  EventFeed* const feed_;
  const Clock* const clock_;
  JobObserver* const observer_;
};

}  // namespace denoise
