// Turns complete uploads into data sets, one at a time, on a thread of its own.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "denoised/v1/datasets.pb.h"
#include "server/jobs/datasets/data_set_quota.h"
#include "server/jobs/datasets/data_set_rows.h"
#include "server/jobs/store/database.h"
#include "server/jobs/store/job_observer.h"
#include "server/jobs/store/state_dir.h"

namespace denoise {

// The result of reading an upload.
struct IngestResult {
  absl::Status status;                 // InvalidArgument: nothing in it can be trained on
  denoised::v1::DatasetReport report;  // as far as it was read
};

// Reads `upload` and stores its pictures in `stored`, which does not exist yet. Calls `progress`
// again and again, and always before `stored` grows beyond what was reported so far. Any status but
// OK ends the reading with that status.
using IngestProgressFunction = std::function<absl::Status(int64_t stored_bytes)>;
using IngestFunction = std::function<IngestResult(
    denoised::v1::DatasetFormat format, const std::filesystem::path& upload,
    const std::filesystem::path& stored, const IngestProgressFunction& progress)>;

std::filesystem::path UploadPath(const StateDir& state, int64_t data_set);
std::filesystem::path StoredPath(const StateDir& state, int64_t data_set);

// Thread-safe.
class DataSetReader {
 public:
  using Done = std::function<void(absl::StatusOr<denoised::v1::Dataset>)>;

  // `housekeeping` is called from the reader's thread, between two data sets, whenever the time
  // that HousekeepBy was given has come. `observer` may be null. Everything outlives the reader.
  DataSetReader(Database* database, const StateDir* state, const DataSetQuota& quota,
                IngestFunction ingest, const Clock* clock, JobObserver* observer,
                std::function<void()> housekeeping);
  ~DataSetReader();  // Stop

  // Abandons the reading that is under way; what is left stays READING. Callers that wait get
  // UNAVAILABLE, and nothing can be added any more. May be called again.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  // Makes Has return true for a data set that is about to be added.
  void Announce(int64_t id) ABSL_LOCKS_EXCLUDED(mutex_);
  // Queues a data set that is READING. `done`, which may be null, is called once on the reader's
  // thread when it has been read. Returns false, and does not call `done`, after Stop.
  bool Add(int64_t id, const Done& done = nullptr) ABSL_LOCKS_EXCLUDED(mutex_);
  // The same for one that was added before. Also false where it has been read already.
  bool Await(int64_t id, const Done& done) ABSL_LOCKS_EXCLUDED(mutex_);

  // Whether it was announced, waits to be read or is being read.
  bool Has(int64_t id) const ABSL_LOCKS_EXCLUDED(mutex_);

  // Asks for housekeeping at `time`, or earlier where that was asked for before.
  void HousekeepBy(absl::Time time) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Entry {
    bool queued = false;
    std::vector<Done> waiting;
  };

  void Loop();
  bool stopped() const ABSL_LOCKS_EXCLUDED(mutex_);
  // The next data set to read; nullopt after Stop.
  std::optional<int64_t> Next() ABSL_LOCKS_EXCLUDED(mutex_);
  // Unavailable, and ResourceExhausted without a quota, mean that it should be tried again.
  absl::StatusOr<denoised::v1::Dataset> Read(int64_t id);
  absl::Status CheckHash(const DataSetRow& row);
  IngestResult Ingest(const DataSetRow& row);
  // Reserves at least `bytes` for what is stored of it; returns how much is reserved.
  absl::StatusOr<int64_t> TakeRoom(int64_t id, int64_t bytes);
  absl::Status Store(int64_t id, const IngestResult& result);
  void Finish(int64_t id, const absl::StatusOr<denoised::v1::Dataset>& result)
      ABSL_LOCKS_EXCLUDED(mutex_);

  Database* const database_;
  const StateDir* const state_;
  const DataSetQuota quota_;
  const IngestFunction ingest_;
  const Clock* const clock_;
  JobObserver* const observer_;
  const std::function<void()> housekeeping_;

  mutable Mutex mutex_;
  CondVar work_;
  std::deque<int64_t> queue_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, Entry> reading_ ABSL_GUARDED_BY(mutex_);  // announced, queued or being read
  absl::Time housekeeping_due_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace denoise
