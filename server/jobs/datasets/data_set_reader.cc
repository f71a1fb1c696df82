#include "server/jobs/datasets/data_set_reader.h"

#include <exception>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "core/base/error_details.h"
#include "core/base/retry.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"
#include "core/files/folders.h"
#include "server/jobs/store/files.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;

// When to try again what the disk did not allow to be read.
constexpr absl::Duration kRetryInterval = absl::Minutes(1);

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
      housekeeping_(std::move(housekeeping)),
      thread_([this] { Loop(); }) {}

DataSetReader::~DataSetReader() { Stop(); }

void DataSetReader::Stop() {
  {
    const MutexLock lock(mutex_);
    stopped_ = true;
  }
  work_.NotifyAll();
  if (thread_.joinable()) thread_.join();
  std::map<int64_t, Entry> left;
  {
    const MutexLock lock(mutex_);
    left.swap(reading_);
  }
  for (const auto& [id, entry] : left) {
    for (const Done& done : entry.waiting) done(DrainingError());
  }
}

void DataSetReader::Announce(int64_t id) {
  const MutexLock lock(mutex_);
  reading_.try_emplace(id);
}

// Holds the lock to the end: `done` may destroy the reader.
bool DataSetReader::Add(int64_t id, const Done& done) {
  const MutexLock lock(mutex_);
  if (stopped_) return false;
  Entry& entry = reading_[id];
  if (done) entry.waiting.push_back(done);
  if (!std::exchange(entry.queued, true)) queue_.push_back(id);
  work_.NotifyAll();
  return true;
}

bool DataSetReader::Await(int64_t id, const Done& done) {
  const MutexLock lock(mutex_);
  const auto entry = reading_.find(id);
  if (stopped_ || entry == reading_.end()) return false;
  entry->second.waiting.push_back(done);
  return true;
}

bool DataSetReader::Has(int64_t id) const {
  const MutexLock lock(mutex_);
  return reading_.contains(id);
}

bool DataSetReader::stopped() const {
  const MutexLock lock(mutex_);
  return stopped_;
}

void DataSetReader::Loop() {
  while (const std::optional<int64_t> id = Next()) Finish(*id, Read(*id));
}

std::optional<int64_t> DataSetReader::Next() {
  while (true) {
    {
      const MutexLock lock(mutex_);
      while (!stopped_ && queue_.empty() && clock_->Now() < housekeeping_due_) {
        clock_->WaitUntil(work_, mutex_, housekeeping_due_);
      }
      if (stopped_) return std::nullopt;
      if (clock_->Now() < housekeeping_due_) {
        const int64_t id = queue_.front();
        queue_.pop_front();
        return id;
      }
      housekeeping_due_ = absl::InfiniteFuture();
    }
    housekeeping_();
  }
}

void DataSetReader::HousekeepBy(absl::Time time) {
  const MutexLock lock(mutex_);
  if (time >= housekeeping_due_) return;
  housekeeping_due_ = time;
  work_.NotifyAll();
}

// Removes what a crash has left of an earlier attempt first.
absl::StatusOr<Dataset> DataSetReader::Read(int64_t id) {
  ASSIGN_OR_RETURN(const std::optional<DataSetRow> row,
                   database_->Read([&](auto& connection) { return ReadDataSet(connection, id); }));
  if (!row || row->data_set.state() != Dataset::READING) {
    return absl::NotFoundError("the data set is not being read");
  }
  RETURN_IF_ERROR(DiskStatus(RemoveTree(StoredPath(*state_, id))));
  RETURN_IF_ERROR(CheckHash(*row));
  const IngestResult result = Ingest(*row);
  if (!result.status.ok() && stopped()) return DrainingError();
  RETURN_IF_ERROR(Store(id, result));
  RETURN_IF_ERROR(DiskStatus(RemoveTree(UploadPath(*state_, id))));
  RETURN_IF_ERROR(result.status);
  ASSIGN_OR_RETURN(std::optional<DataSetRow> ready,
                   database_->Read([&](auto& connection) { return ReadDataSet(connection, id); }));
  if (!ready) return absl::InternalError("a data set that was read is missing");
  return std::move(ready->data_set);
}

// An upload with another hash than announced is of no use and begins again.
absl::Status DataSetReader::CheckHash(const DataSetRow& row) {
  const absl::StatusOr<std::string> hash = Sha256OfFile(UploadPath(*state_, row.id), [this] {
    return stopped() ? DrainingError() : absl::OkStatus();
  });
  if (!hash.ok() && stopped()) return DrainingError();
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

IngestResult DataSetReader::Ingest(const DataSetRow& row) {
  int64_t room = row.stored_bytes;
  const IngestProgressFunction progress = [&](int64_t bytes) -> absl::Status {
    if (stopped()) return DrainingError();
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

absl::Status DataSetReader::Store(int64_t id, const IngestResult& result) {
  const bool for_caller = absl::IsInvalidArgument(result.status) || IsOverQuota(result.status);
  if (!result.status.ok() && !for_caller && observer_ != nullptr) {
    observer_->OnError("a data set could not be read", result.status);
  }
  if (IsTemporary(result.status)) return result.status;
  if (!result.status.ok()) RETURN_IF_ERROR(DiskStatus(RemoveTree(StoredPath(*state_, id))));
  const std::string error = result.status.ok() ? ""
                            : for_caller       ? std::string(result.status.message())
                                               : "the data set could not be read";
  const int64_t stored_bytes = TreeBytes(StoredPath(*state_, id));
  return database_->Write([&](SQLite::Database& connection) {
    WriteDataSetState(connection, id, result.status.ok() ? Dataset::READY : Dataset::FAILED, error,
                      &result.report);
    WriteStoredBytes(connection, id, stored_bytes);
    return absl::OkStatus();
  });
}

void DataSetReader::Finish(int64_t id, const absl::StatusOr<Dataset>& result) {
  std::vector<Done> waiting;
  {
    const MutexLock lock(mutex_);
    waiting = std::move(reading_[id].waiting);
    reading_.erase(id);
  }
  // The housekeeping adds it again.
  if (IsTemporary(result.status())) HousekeepBy(clock_->Now() + kRetryInterval);
  for (const Done& done : waiting) done(result);
}

}  // namespace denoise
