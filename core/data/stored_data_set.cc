#include "core/data/stored_data_set.h"

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>
#include <sqlite3.h>

#include <limits>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/mutex.h"
#include "core/base/status_macros.h"
#include "core/data/data_set_schema.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

// The pictures were within the limits when they were stored.
constexpr int64_t kAnyPixels = std::numeric_limits<int64_t>::max();

// An SQLite URI (sqlite.org/uri.html). The file never changes, so it needs no locks and no journal.
std::string ImmutableUri(const fs::path& path) {
  std::string uri = "file:";
  for (char c : fs::absolute(path).string()) {
    if (c == '?' || c == '#' || c == '%') {
      absl::StrAppend(&uri, "%", absl::Hex(c, absl::kZeroPad2));
    } else {
      uri += c;
    }
  }
  return uri + "?mode=ro&immutable=1";
}

absl::Status Damaged(std::string_view what) {
  return absl::DataLossError(
      absl::StrCat("the stored data set ", absl::string_view(what.data(), what.size())));
}

absl::Status CannotBeRead() {
  return absl::UnavailableError("the stored data set cannot be read now");
}

// Whether the file is at fault, or what the process may open, read or allocate at the moment.
absl::Status StatusOf(const SQLite::Exception& error, std::string_view damaged) {
  switch (error.getErrorCode()) {
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_NOMEM:
      return CannotBeRead();
    case SQLITE_IOERR:
      if (error.getExtendedErrorCode() != SQLITE_IOERR_SHORT_READ) return CannotBeRead();
  }
  return Damaged(damaged);
}

// A connection with its prepared statements, for one thread at a time.
class Connection {
 public:
  // Throws SQLite::Exception, like all its functions.
  explicit Connection(const std::string& uri)
      : database_(uri, SQLite::OPEN_READONLY | SQLite::OPEN_URI | SQLite::OPEN_NOMUTEX) {
    // The file is not trusted; this keeps its schema from calling functions.
    sqlite3_db_config(database_.getHandle(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(database_.getHandle(), SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    database_.exec("PRAGMA cell_size_check = ON");
  }

  SQLite::Database& database() { return database_; }

  struct Encoded {
    std::string bytes;
    int64_t crc32 = 0;
  };
  Encoded Read(int64_t id) {
    const Row row(encoded_, id);
    return {row->getColumn(0).getString(), row->getColumn(1).getInt64()};
  }

  std::string Name(int64_t id) {
    const Row row(names_, id);
    return row->getColumn(0).getString();
  }

 private:
  // The row of a statement for `id`. Resets the statement afterwards.
  class Row {
   public:
    Row(SQLite::Statement& statement, int64_t id) : statement_(statement) {
      statement_.reset();
      statement_.bind(1, id);
      if (!statement_.executeStep()) throw SQLite::Exception("no such picture");
    }
    ~Row() { statement_.tryReset(); }
    SQLite::Statement* operator->() const { return &statement_; }

   private:
    SQLite::Statement& statement_;
  };

  SQLite::Database database_;
  SQLite::Statement encoded_{database_, "SELECT bytes, crc32 FROM encoded WHERE id = ?"};
  SQLite::Statement names_{database_, "SELECT name FROM pictures WHERE id = ?"};
};

class StoredDataSet : public DataSet {
 public:
  StoredDataSet(std::string uri, std::unique_ptr<Connection> connection) : uri_(std::move(uri)) {
    idle_.push_back(std::move(connection));
  }

  // Called once, before the object is shared. Throws SQLite::Exception.
  absl::Status Load();

  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  const std::vector<std::string>& classes() const override { return classes_; }
  int64_t label(int64_t i) const override {
    DENOISE_DCHECK(i >= 0 && i < size());
    return labels_[static_cast<size_t>(i)];
  }
  std::string name(int64_t i) const override;
  absl::StatusOr<Image> Read(int64_t i) const override;

 private:
  absl::Status LoadClasses(SQLite::Database& database);
  absl::Status LoadLabels(SQLite::Database& database);

  // Runs `work(connection)` with a connection of its own. There are as many connections as there
  // ever were concurrent readers.
  template <typename Work>
  auto WithConnection(Work work) const {
    std::unique_ptr<Connection> connection = TakeIdle();
    if (connection == nullptr) connection = std::make_unique<Connection>(uri_);
    auto result = work(*connection);
    const MutexLock lock(mutex_);
    idle_.push_back(std::move(connection));
    return result;
  }

  std::unique_ptr<Connection> TakeIdle() const {
    const MutexLock lock(mutex_);
    if (idle_.empty()) return nullptr;
    std::unique_ptr<Connection> connection = std::move(idle_.back());
    idle_.pop_back();
    return connection;
  }

  const std::string uri_;
  std::vector<std::string> classes_;  // constant after Load, like labels_
  std::vector<int32_t> labels_;

  mutable Mutex mutex_;
  mutable std::vector<std::unique_ptr<Connection>> idle_ ABSL_GUARDED_BY(mutex_);
};

absl::Status StoredDataSet::Load() {
  return WithConnection([&](Connection& connection) -> absl::Status {
    SQLite::Database& database = connection.database();
    if (database.execAndGet("PRAGMA application_id").getInt() != kDataSetApplicationId) {
      return Damaged("is something else");
    }
    if (database.execAndGet("PRAGMA user_version").getInt() != kDataSetVersion) {
      return Damaged("was made by another version");
    }
    RETURN_IF_ERROR(LoadClasses(database));
    RETURN_IF_ERROR(LoadLabels(database));
    const int64_t checksum = database
                                 .execAndGet(absl::StrCat("SELECT value FROM meta WHERE key = '",
                                                          kIndexChecksumKey, "'"))
                                 .getInt64();
    return checksum == IndexChecksum(database) ? absl::OkStatus() : Damaged("is damaged");
  });
}

absl::Status StoredDataSet::LoadClasses(SQLite::Database& database) {
  SQLite::Statement rows(database, "SELECT label, name FROM classes ORDER BY label");
  while (rows.executeStep()) {
    if (rows.getColumn(0).getInt64() != static_cast<int64_t>(classes_.size())) {
      return Damaged("lacks a class");
    }
    classes_.push_back(rows.getColumn(1).getString());
  }
  return absl::OkStatus();
}

absl::Status StoredDataSet::LoadLabels(SQLite::Database& database) {
  const int64_t labels = std::max<int64_t>(1, static_cast<int64_t>(classes_.size()));
  SQLite::Statement rows(database, "SELECT id, label FROM pictures ORDER BY id");
  while (rows.executeStep()) {
    const int64_t label = rows.getColumn(1).getInt64();
    if (rows.getColumn(0).getInt64() != size()) return Damaged("lacks a picture");
    if (label < 0 || label >= labels) return Damaged("has a label without a class");
    labels_.push_back(static_cast<int32_t>(label));
  }
  const int64_t pictures =
      database.execAndGet(absl::StrCat("SELECT value FROM meta WHERE key = '", kPicturesKey, "'"))
          .getInt64();
  return pictures == size() ? absl::OkStatus() : Damaged("lacks pictures");
}

std::string StoredDataSet::name(int64_t i) const {
  try {
    return WithConnection([&](Connection& connection) { return connection.Name(i); });
  } catch (const SQLite::Exception&) {
    return absl::StrCat("picture ", i);  // Read reports the error
  }
}

absl::StatusOr<Image> StoredDataSet::Read(int64_t i) const {
  const std::string lost = absl::StrCat("has lost picture ", i);
  try {
    const Connection::Encoded encoded =
        WithConnection([&](Connection& connection) { return connection.Read(i); });
    if (encoded.crc32 != Crc32(encoded.bytes)) return Damaged(lost);
    absl::StatusOr<Image> image = DecodeImage(encoded.bytes, kAnyPixels);
    return absl::IsInvalidArgument(image.status()) ? Damaged(lost) : image;
  } catch (const SQLite::Exception& error) {
    return StatusOf(error, lost);
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<const DataSet>> OpenDataSet(const fs::path& path) {
  std::error_code error;
  const fs::file_type type = fs::status(path, error).type();
  if (type == fs::file_type::not_found) return absl::NotFoundError("there is no such data set");
  if (error) return CannotBeRead();
  if (type != fs::file_type::regular) return Damaged("is not a file");
  try {
    std::string uri = ImmutableUri(path);
    auto connection = std::make_unique<Connection>(uri);
    auto data_set = std::make_shared<StoredDataSet>(std::move(uri), std::move(connection));
    RETURN_IF_ERROR(data_set->Load());
    return data_set;
  } catch (const SQLite::Exception& exception) {
    return StatusOf(exception, "is damaged");
  }
}

}  // namespace denoise
