// Turns complete uploads into data sets, some at a time, on threads of its own.
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
#include "server/jobs/store/state_manifest.h"

namespace denoise {

// The result of reading an upload.
struct IngestResult {
  absl::Status status;                 // InvalidArgument: nothing in it can be trained on
  denoised::v1::DatasetReport report;  // as far as it was read
};

// Reads `upload` and stores its pictures in the file `stored`, which does not exist yet. Calls
// `progress` again and again, and always before `stored` grows beyond what was reported so far. Any
// status but OK ends the reading with that status. Thread-safe.
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
  // Somebody who waits for a data set.
  struct Caller {
    Done done;                   // called once, on a thread of the reader; null: nobody
    std::function<bool()> gone;  // asked until `done` is called; may be null
  };

  // `housekeeping` is called from a thread of the reader whenever the time that HousekeepBy was
  // given has come. `observer` may be null. Everything outlives the reader.
  DataSetReader(Database* database, const StateDir* state, const DataSetQuota& quota,
                IngestFunction ingest, const Clock* clock, JobObserver* observer,
                std::function<void()> housekeeping);
  ~DataSetReader();  // Stop

  // Abandons the readings that are under way; what is left stays READING. Callers that wait get
  // UNAVAILABLE, and nothing can be added any more. May be called again.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  // Makes Has return true for a data set that is about to be added.
  void Announce(int64_t id) ABSL_LOCKS_EXCLUDED(mutex_);
  // Queues a data set that is READING. Once all of its callers have gone, the reading ends, and the
  // data set is UPLOADING again with all of its bytes received. Returns false, and does not call
  // `done`, after Stop.
  bool Add(int64_t id, Caller caller = {}) ABSL_LOCKS_EXCLUDED(mutex_);
  // The same for one that was added before. Also false where it has been read already.
  bool Await(int64_t id, Caller caller) ABSL_LOCKS_EXCLUDED(mutex_);

  // Whether it was announced, waits to be read or is being read.
  bool Has(int64_t id) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends the reading of a data set that is to be deleted, and waits until its files are let go.
  // Callers that wait get CANCELLED. False: it was announced only.
  bool Cancel(int64_t id) ABSL_LOCKS_EXCLUDED(mutex_);

  // Asks for housekeeping at `time`, or earlier where that was asked for before.
  void HousekeepBy(absl::Time time) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Entry {
    bool queued = false;  // or being read
    bool cancelled = false;
    std::vector<Caller> callers;
  };

  void Loop();
  // OK while the reading of `id` should continue. UNAVAILABLE after Stop; CANCELLED.
  absl::Status CheckWanted(int64_t id) const ABSL_LOCKS_EXCLUDED(mutex_);
  // The next data set to read; nullopt after Stop.
  std::optional<int64_t> Next() ABSL_LOCKS_EXCLUDED(mutex_);
  // Unavailable, and ResourceExhausted without a quota, mean that it should be tried again.
  absl::StatusOr<denoised::v1::Dataset> Read(int64_t id);
  absl::Status ReadRow(const DataSetRow& row);
  // Records an earlier reading that was complete; false where there is none.
  absl::StatusOr<bool> IsStored(const DataSetRow& row);
  // DataLoss: something is stored that its manifest does not know, and there is no upload.
  absl::Status ClearStored(const DataSetRow& row);
  absl::StatusOr<StateManifest::File> DescribeStored(int64_t id);
  absl::Status CheckHash(const DataSetRow& row);
  // Counts the readings that a server did not survive. InvalidArgument: there were too many.
  absl::Status BeginReading(const DataSetRow& row);
  absl::Status ForgetReading(int64_t id);
  IngestResult Ingest(const DataSetRow& row);
  // Reserves at least `bytes` for what is stored of it; returns how much is reserved.
  absl::StatusOr<int64_t> TakeRoom(int64_t id, int64_t bytes);
  absl::Status Store(const DataSetRow& row, const IngestResult& result);
  absl::Status Record(int64_t id, denoised::v1::Dataset::State state, const std::string& error,
                      const denoised::v1::DatasetReport* report);
  absl::Status PutBack(const DataSetRow& row);
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
  CondVar let_go_;
  std::deque<int64_t> queue_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, Entry> reading_ ABSL_GUARDED_BY(mutex_);  // announced, queued or being read
  absl::Time housekeeping_due_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  bool keeps_house_ ABSL_GUARDED_BY(mutex_) = false;  // a thread does
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;  // the last member: they use all others
};

}  // namespace denoise
