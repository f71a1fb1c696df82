// The server's SQLite file, and the one place where SQLite's exceptions become statuses.
#pragma once

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Transaction.h>

#include <filesystem>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/mutex.h"

namespace denoise {

// Thread-safe: one connection, one thread at a time. What Write has returned OK for survives a crash
// of the machine.
class Database {
 public:
  // Makes the file, or brings an older one up to date. Messages are for the operator and name the
  // path. FailedPrecondition: a newer version made it. DataLoss: it is damaged, or is not ours.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::filesystem::path& path);

  // `work(SQLite::Database&)` returns a Status or StatusOr and may throw SQLite::Exception. Write runs
  // it in a transaction, which is undone unless it returns OK. Errors carry no path:
  // ResourceExhausted: the disk is full. Unavailable: it cannot be read or written now. DataLoss: the
  // file is damaged.
  template <class Work>
  auto Write(Work work) ABSL_LOCKS_EXCLUDED(mutex_)
      -> decltype(work(std::declval<SQLite::Database&>()));
  template <class Work>
  auto Read(Work work) ABSL_LOCKS_EXCLUDED(mutex_)
      -> decltype(work(std::declval<SQLite::Database&>()));

 private:
  explicit Database(std::unique_ptr<SQLite::Database> connection)
      : connection_(std::move(connection)) {}

  Mutex mutex_;
  const std::unique_ptr<SQLite::Database> connection_ ABSL_PT_GUARDED_BY(mutex_);
};

// What `error` means to whoever asked.
absl::Status StatusFromSqlite(const SQLite::Exception& error);

template <class Work>
auto Database::Write(Work work) -> decltype(work(std::declval<SQLite::Database&>())) {
  const MutexLock lock(mutex_);
  try {
    // IMMEDIATE: nothing that was read can change before it is written.
    SQLite::Transaction transaction(*connection_, SQLite::TransactionBehavior::IMMEDIATE);
    auto result = work(*connection_);
    if (result.ok()) transaction.commit();
    return result;
  } catch (const SQLite::Exception& error) {
    return StatusFromSqlite(error);
  }
}

template <class Work>
auto Database::Read(Work work) -> decltype(work(std::declval<SQLite::Database&>())) {
  const MutexLock lock(mutex_);
  try {
    SQLite::Transaction transaction(*connection_);  // one view of it all
    return work(*connection_);
  } catch (const SQLite::Exception& error) {
    return StatusFromSqlite(error);
  }
}

}  // namespace denoise
