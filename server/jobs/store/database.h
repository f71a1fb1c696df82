// The server's SQLite file. Turns SQLite's exceptions into statuses, here and nowhere else.
#pragma once

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Transaction.h>

#include <filesystem>
#include <memory>
#include <type_traits>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/mutex.h"
#include "server/jobs/store/disk_reserve.h"

namespace denoise {

// Thread-safe: one connection, used by one thread at a time. Once Write has returned OK, its
// changes survive a crash of the machine.
class Database {
 public:
  // Creates the file, or upgrades an older one. Messages are for the operator and name the path.
  // FailedPrecondition: a newer version made it. DataLoss: it is damaged, or not ours.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::filesystem::path& path);

  // The Status or StatusOr that a Work returns.
  template <class Work>
  using Result = std::invoke_result_t<Work&, SQLite::Database&>;

  // `work(SQLite::Database&)` returns a Status or StatusOr and may throw SQLite::Exception. Write
  // runs it in a transaction, which is rolled back unless it returns OK. Errors carry no path.
  // ResourceExhausted: the disk is full. Unavailable: the file cannot be read or written now.
  // DataLoss: the file is damaged.
  template <class Work>
  Result<Work> Write(Work work) ABSL_LOCKS_EXCLUDED(mutex_);
  // Write, for work that leads to more room on the disk. Where the disk is full, it may use room
  // that is kept back for that.
  template <class Work>
  Result<Work> WriteFreeing(Work work) ABSL_LOCKS_EXCLUDED(mutex_);
  template <class Work>
  Result<Work> Read(Work work) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  Database(std::unique_ptr<SQLite::Database> connection, std::unique_ptr<DiskReserve> reserve)
      : connection_(std::move(connection)), reserve_(std::move(reserve)) {}

  Mutex mutex_;
  const std::unique_ptr<SQLite::Database> connection_ ABSL_PT_GUARDED_BY(mutex_);
  Mutex reserve_mutex_;
  const std::unique_ptr<DiskReserve> reserve_ ABSL_PT_GUARDED_BY(reserve_mutex_);
};

// `error` as a status for callers.
absl::Status StatusFromSqlite(const SQLite::Exception& error);

template <class Work>
Database::Result<Work> Database::Write(Work work) {
  const MutexLock lock(mutex_);
  try {
    // IMMEDIATE: what was read cannot change before the write.
    SQLite::Transaction transaction(*connection_, SQLite::TransactionBehavior::IMMEDIATE);
    auto result = work(*connection_);
    if (result.ok()) transaction.commit();
    return result;
  } catch (const SQLite::Exception& error) {
    return StatusFromSqlite(error);
  }
}

inline const absl::Status& StatusOfResult(const absl::Status& status) { return status; }
template <class T>
const absl::Status& StatusOfResult(const absl::StatusOr<T>& result) {
  return result.status();
}

template <class Work>
Database::Result<Work> Database::WriteFreeing(Work work) {
  const MutexLock lock(reserve_mutex_);
  auto result = Write(work);
  if (absl::IsResourceExhausted(StatusOfResult(result))) {
    reserve_->Release();
    result = Write(work);
  }
  reserve_->Take();
  return result;
}

template <class Work>
Database::Result<Work> Database::Read(Work work) {
  const MutexLock lock(mutex_);
  try {
    SQLite::Transaction transaction(*connection_);  // all reads see the same state
    return work(*connection_);
  } catch (const SQLite::Exception& error) {
    return StatusFromSqlite(error);
  }
}

}  // namespace denoise
