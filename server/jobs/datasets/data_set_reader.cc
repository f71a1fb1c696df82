#include "server/jobs/datasets/data_set_reader.h"

#include <algorithm>
#include <exception>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/file_system_error.h"
#include "core/base/retry.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"
#include "core/files/folders.h"
#include "server/jobs/datasets/data_set_manifest.h"
#include "server/jobs/store/files.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;

// When to try again what the disk did not allow to be read.
constexpr absl::Duration kRetryInterval = absl::Minutes(1);

// How many uploads are read at a time. Each takes the memory of one file and of its picture.
constexpr int kThreads = 4;

constexpr int kMaxLostReadings = 3;

absl::Status Deleted() { return absl::CancelledError("the data set was deleted"); }

absl::Status CallersGone() {
  return absl::CancelledError("nobody waits for the upload any more; continue it to read it");
}

bool IsOverQuota(const absl::Status& status) { return GetQuotaViolation(status).has_value(); }

// A problem of the machine, not of the upload.
bool IsTemporary(const absl::Status& status) {
  return absl::IsUnavailable(status) || (absl::IsResourceExhausted(status) && !IsOverQuota(status));
}

}  // namespace

std::filesystem::path UploadPath(const StateDir& state, int64_t data_set) {
  return state.data_set(data_set) / "upload";
}

std::filesystem::path StoredPath(const StateDir& state, int64_t data_set) {
  return state.data_set(data_set) / "stored";
}

DataSetReader::DataSetReader(Database* database, const StateDir* state, const DataSetQuota& quota,
                             IngestFunction ingest, const Clock* clock, JobObserver* observer,
                             std::function<void()> housekeeping)
    : database_(database),
      state_(state),
      quota_(quota),
      ingest_(std::move(ingest)),
      clock_(clock),
      observer_(observer),
      housekeeping_(std::move(housekeeping)) {
  for (int i = 0; i < kThreads; ++i) threads_.emplace_back([this] { Loop(); });
}

DataSetReader::~DataSetReader() { Stop(); }

void DataSetReader::Stop() {
  {
    const MutexLock lock(mutex_);
    stopped_ = true;
  }
  work_.NotifyAll();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  std::map<int64_t, Entry> left;
  {
    const MutexLock lock(mutex_);
    left.swap(reading_);
  }
  for (const auto& [id, entry] : left) {
    for (const Caller& caller : entry.callers) caller.done(DrainingError());
  }
}

void DataSetReader::Announce(int64_t id) {
  const MutexLock lock(mutex_);
  reading_.try_emplace(id);
}

// Holds the lock to the end: `done` may destroy the reader.
bool DataSetReader::Add(int64_t id, Caller caller) {
  const MutexLock lock(mutex_);
  if (stopped_) return false;
  Entry& entry = reading_[id];
  if (caller.done) entry.callers.push_back(std::move(caller));
  if (!std::exchange(entry.queued, true)) queue_.push_back(id);
  work_.NotifyAll();
  return true;
}

bool DataSetReader::Await(int64_t id, Caller caller) {
  const MutexLock lock(mutex_);
  const auto entry = reading_.find(id);
  if (stopped_ || entry == reading_.end()) return false;
  entry->second.callers.push_back(std::move(caller));
  return true;
}

bool DataSetReader::Has(int64_t id) const {
  const MutexLock lock(mutex_);
  return reading_.contains(id);
}

bool DataSetReader::Cancel(int64_t id) {
  std::vector<Caller> callers;
  {
    const MutexLock lock(mutex_);
    const auto entry = reading_.find(id);
    if (entry == reading_.end()) return true;
    if (!entry->second.queued) return false;
    entry->second.cancelled = true;
    if (const auto place = std::find(queue_.begin(), queue_.end(), id); place != queue_.end()) {
      queue_.erase(place);
      callers = std::move(entry->second.callers);
      reading_.erase(entry);
    }
    while (reading_.contains(id)) let_go_.Wait(mutex_);
  }
  for (const Caller& caller : callers) caller.done(Deleted());
  return true;
}

absl::Status DataSetReader::CheckWanted(int64_t id) const {
  const MutexLock lock(mutex_);
  if (stopped_) return DrainingError();
  const auto entry = reading_.find(id);
  if (entry == reading_.end() || entry->second.cancelled) return Deleted();
  const std::vector<Caller>& callers = entry->second.callers;
  const bool all_gone = std::all_of(callers.begin(), callers.end(),
                                    [](const Caller& c) { return c.gone && c.gone(); });
  return callers.empty() || !all_gone ? absl::OkStatus() : CallersGone();
}

void DataSetReader::Loop() {
  while (const std::optional<int64_t> id = Next()) Finish(*id, Read(*id));
}

// Nothing is read while the housekeeping runs: it may remove what is in the way of a reading.
std::optional<int64_t> DataSetReader::Next() {
  while (true) {
    {
      const MutexLock lock(mutex_);
      while (!stopped_ && (keeps_house_ || (queue_.empty() && clock_->Now() < housekeeping_due_))) {
        clock_->WaitUntil(work_, mutex_, keeps_house_ ? absl::InfiniteFuture() : housekeeping_due_);
      }
      if (stopped_) return std::nullopt;
      if (clock_->Now() < housekeeping_due_) {
        const int64_t id = queue_.front();
        queue_.pop_front();
        return id;
      }
      housekeeping_due_ = absl::InfiniteFuture();
      keeps_house_ = true;
    }
    housekeeping_();
    const MutexLock lock(mutex_);
    keeps_house_ = false;
    work_.NotifyAll();
  }
}

void DataSetReader::HousekeepBy(absl::Time time) {
  const MutexLock lock(mutex_);
  if (time >= housekeeping_due_) return;
  housekeeping_due_ = time;
  work_.NotifyAll();
}

absl::StatusOr<Dataset> DataSetReader::Read(int64_t id) {
  ASSIGN_OR_RETURN(const std::optional<DataSetRow> row,
                   database_->Read([&](auto& connection) { return ReadDataSet(connection, id); }));
  if (!row || row->data_set.state() != Dataset::READING) {
    return absl::NotFoundError("the data set is not being read");
  }
  absl::Status wanted = CheckWanted(id);
  absl::Status status = wanted.ok() ? ReadRow(*row) : wanted;
  if (status.ok()) {
    ASSIGN_OR_RETURN(std::optional<DataSetRow> ready, database_->Read([&](auto& connection) {
      return ReadDataSet(connection, id);
    }));
    if (!ready) return absl::InternalError("a data set that was read is missing");
    return std::move(ready->data_set);
  }
  wanted = CheckWanted(id);  // may be why the reading has failed
  if (absl::IsCancelled(wanted) && wanted == CallersGone()) RETURN_IF_ERROR(PutBack(*row));
  return wanted.ok() ? status : wanted;
}

absl::Status DataSetReader::ReadRow(const DataSetRow& row) {
  ASSIGN_OR_RETURN(const bool is_stored, IsStored(row));
  if (is_stored) return absl::OkStatus();
  RETURN_IF_ERROR(ClearStored(row));
  RETURN_IF_ERROR(CheckHash(row));
  RETURN_IF_ERROR(BeginReading(row));
  const IngestResult result = Ingest(row);
  if (!result.status.ok()) RETURN_IF_ERROR(CheckWanted(row.id));
  RETURN_IF_ERROR(Store(row, result));
  RETURN_IF_ERROR(DiskStatus(RemoveTree(UploadPath(*state_, row.id))));
  return result.status;
}

// The manifest names what is stored once all of it is on the disk.
absl::StatusOr<bool> DataSetReader::IsStored(const DataSetRow& row) {
  ASSIGN_OR_RETURN(const auto manifest, ReadStateManifest(state_->data_set(row.id)));
  if (!manifest || !manifest->stored || !Describes(*manifest, row)) return false;
  auto file = DescribeStored(row.id);
  RETURN_IF_ERROR(CheckWanted(row.id));
  if (absl::IsNotFound(file.status()) || absl::IsInvalidArgument(file.status())) return false;
  RETURN_IF_ERROR(DiskStatus(file.status()));
  if (manifest->stored->sha256.empty()) file->sha256.clear();  // of an earlier version
  Dataset data_set;
  if (*file != *manifest->stored || !data_set.ParseFromString(manifest->resource)) return false;
  RETURN_IF_ERROR(Record(row.id, Dataset::READY, "", &data_set.report()));
  RETURN_IF_ERROR(DiskStatus(RemoveTree(UploadPath(*state_, row.id))));
  return true;
}

// Removes what a crash has left of an earlier attempt. Without the upload, from which it can be read
// again, nobody but its owner throws it away.
absl::Status DataSetReader::ClearStored(const DataSetRow& row) {
  const std::filesystem::path stored = StoredPath(*state_, row.id);
  ASSIGN_OR_RETURN(const bool is_there, IsThere(stored));
  ASSIGN_OR_RETURN(const bool has_upload, IsThere(UploadPath(*state_, row.id)));
  if (!is_there) return absl::OkStatus();
  if (has_upload) return DiskStatus(RemoveTree(stored));
  std::error_code error;
  std::filesystem::rename(stored, stored.string() + ".damaged", error);
  if (error) return DiskStatus(FileSystemError(error.value(), "a data set cannot be renamed"));
  RETURN_IF_ERROR(Record(row.id, Dataset::FAILED,
                         "what the server stored of it is damaged; upload it again", nullptr));
  return absl::DataLossError("what the server stored of the data set is damaged; upload it again");
}

absl::StatusOr<StateManifest::File> DataSetReader::DescribeStored(int64_t id) {
  const std::filesystem::path path = StoredPath(*state_, id);
  ASSIGN_OR_RETURN(std::string hash, Sha256OfFile(path, [&] { return CheckWanted(id); }));
  return StateManifest::File{TreeBytes(path), std::move(hash)};
}

// A server that dies over an upload does not die over it for ever.
absl::Status DataSetReader::BeginReading(const DataSetRow& row) {
  ASSIGN_OR_RETURN(const int lost, database_->Write([&](SQLite::Database& connection) {
    return absl::StatusOr<int>(CountReading(connection, row.id));
  }));
  if (lost < kMaxLostReadings) return absl::OkStatus();
  const absl::Status given_up = absl::InvalidArgumentError(
      absl::StrCat("the server ended ", lost,
                   " times while it read this upload; upload it again, in smaller parts"));
  RETURN_IF_ERROR(Store(row, {given_up, {}}));
  return given_up;
}

// An upload with another hash than announced is of no use and begins again.
absl::Status DataSetReader::CheckHash(const DataSetRow& row) {
  const absl::StatusOr<std::string> hash =
      Sha256OfFile(UploadPath(*state_, row.id), [&] { return CheckWanted(row.id); });
  if (!hash.ok()) RETURN_IF_ERROR(CheckWanted(row.id));
  if (!hash.ok() && !absl::IsNotFound(hash.status())) return DiskStatus(hash.status());
  if (hash.ok() && absl::HexStringToBytes(*hash) == row.sha256) return absl::OkStatus();
  RETURN_IF_ERROR(database_->Write([&](SQLite::Database& connection) {
    WriteDataSetState(connection, row.id, Dataset::UPLOADING, "", nullptr);
    WriteReceivedBytes(connection, row.id, 0, row.upload_time);
    return absl::OkStatus();
  }));
  return WithErrorMetadata(
      absl::DataLossError("the SHA-256 of the upload is not the one that was announced; upload it "
                          "again"),
      "received_bytes", "0");
}

// Nobody waits for it any more. A call that continues it has nothing to send. One that is only
// verified, because the database did not know it, has no upload and stays READING.
absl::Status DataSetReader::PutBack(const DataSetRow& row) {
  ASSIGN_OR_RETURN(const bool has_upload, IsThere(UploadPath(*state_, row.id)));
  if (!has_upload) return absl::UnavailableError("the data set is still being verified");
  RETURN_IF_ERROR(DiskStatus(RemoveTree(StoredPath(*state_, row.id))));
  const absl::Time now = clock_->Now();
  RETURN_IF_ERROR(database_->Write([&](SQLite::Database& connection) {
    WriteDataSetState(connection, row.id, Dataset::UPLOADING, "", nullptr);
    WriteReceivedBytes(connection, row.id, row.data_set.total_bytes(), now);
    WriteStoredBytes(connection, row.id, row.data_set.total_bytes());  // as when it began
    return absl::OkStatus();
  }));
  HousekeepBy(now + quota_.upload_idle);
  return absl::OkStatus();
}

IngestResult DataSetReader::Ingest(const DataSetRow& row) {
  int64_t room = row.stored_bytes;
  const IngestProgressFunction progress = [&](int64_t bytes) -> absl::Status {
    RETURN_IF_ERROR(CheckWanted(row.id));
    if (bytes <= room) return absl::OkStatus();
    ASSIGN_OR_RETURN(room, TakeRoom(row.id, bytes));
    return absl::OkStatus();
  };
  try {
    return ingest_(row.data_set.format(), UploadPath(*state_, row.id), StoredPath(*state_, row.id),
                   progress);
  } catch (const std::exception& error) {  // a library's, or memory ran out
    return {absl::InternalError(error.what()), {}};
  }
}

// Uploads that begin meanwhile compete for the same room: the first to write gets it.
absl::StatusOr<int64_t> DataSetReader::TakeRoom(int64_t id, int64_t bytes) {
  return database_->Write([&](SQLite::Database& connection) -> absl::StatusOr<int64_t> {
    ASSIGN_OR_RETURN(const std::optional<DataSetRow> row, ReadDataSet(connection, id));
    if (!row) return absl::NotFoundError("the data set has been deleted");
    ASSIGN_OR_RETURN(const int64_t room,
                     RoomToStore(bytes, row->stored_bytes, quota_, ReadDataSetUsage(connection)));
    WriteStoredBytes(connection, id, room);
    return room;
  });
}

// The manifest is written before the row: whatever happens in between, the files say what they are.
absl::Status DataSetReader::Store(const DataSetRow& row, const IngestResult& result) {
  const bool for_caller = absl::IsInvalidArgument(result.status) || IsOverQuota(result.status);
  if (!result.status.ok() && !for_caller && observer_ != nullptr) {
    observer_->OnError("a data set could not be read", result.status);
  }
  if (IsTemporary(result.status)) return result.status;
  if (result.status.ok()) {
    StateManifest manifest = ManifestOf(row);
    Dataset data_set = row.data_set;
    data_set.set_state(Dataset::READY);
    *data_set.mutable_report() = result.report;
    manifest.resource = data_set.SerializeAsString();
    ASSIGN_OR_RETURN(manifest.stored, DescribeStored(row.id));
    RETURN_IF_ERROR(WriteStateManifest(state_->data_set(row.id), manifest));
    return Record(row.id, Dataset::READY, "", &result.report);
  }
  RETURN_IF_ERROR(DiskStatus(RemoveTree(StoredPath(*state_, row.id))));
  RETURN_IF_ERROR(
      Record(row.id, Dataset::FAILED,
             for_caller ? std::string(result.status.message()) : "the data set could not be read",
             &result.report));
  return DiskStatus(RemoveTree(state_->data_set(row.id)));
}

absl::Status DataSetReader::Record(int64_t id, Dataset::State state, const std::string& error,
                                   const denoised::v1::DatasetReport* report) {
  const int64_t stored_bytes = TreeBytes(StoredPath(*state_, id));
  return database_->Write([&](SQLite::Database& connection) {
    WriteDataSetState(connection, id, state, error, report);
    WriteStoredBytes(connection, id, stored_bytes);
    UncountReading(connection, id);
    return absl::OkStatus();
  });
}

absl::Status DataSetReader::ForgetReading(int64_t id) {
  return database_->Write([&](SQLite::Database& connection) {
    UncountReading(connection, id);
    return absl::OkStatus();
  });
}

void DataSetReader::Finish(int64_t id, const absl::StatusOr<Dataset>& result) {
  // A reading that is abandoned in an orderly way does not count as lost.
  if (!result.ok()) ForgetReading(id).IgnoreError();
  std::vector<Caller> callers;
  {
    const MutexLock lock(mutex_);
    callers = std::move(reading_[id].callers);
    reading_.erase(id);
    let_go_.NotifyAll();
  }
  // The housekeeping adds it again.
  if (IsTemporary(result.status())) HousekeepBy(clock_->Now() + kRetryInterval);
  for (const Caller& caller : callers) caller.done(result);
}

}  // namespace denoise
