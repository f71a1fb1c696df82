#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/file_descriptor.h"
#include "core/base/file_system_error.h"
#include "core/base/status_macros.h"
#include "core/data/data_set_schema.h"
#include "core/data/stored_data_set.h"
#include "core/files/atomic_file.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

absl::Status WriteError(int error) {
  const absl::Status status = FileSystemError(error, "the data set cannot be written now");
  return absl::IsResourceExhausted(status) ? status : absl::UnavailableError(status.message());
}

// SQLite reports a full disk separately, but not an exhausted quota.
absl::Status WriteError(const SQLite::Exception& error) {
  const bool no_room =
      error.getErrorCode() == SQLITE_FULL || error.getExtendedErrorCode() == SQLITE_IOERR_WRITE;
  return WriteError(no_room ? ENOSPC : EIO);
}

// Syncs the file, renames it, then syncs its folder.
absl::Status MoveDurably(const fs::path& from, const fs::path& to) {
  const FileDescriptor file(open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0 || fsync(file.get()) != 0) return WriteError(errno);
  if (std::rename(from.c_str(), to.c_str()) != 0) return WriteError(errno);
  return SyncFolder(to.parent_path());
}

}  // namespace

// One transaction without a journal: an unfinished file is discarded, never repaired.
class DataSetWriter::File {
 public:
  explicit File(const fs::path& path)
      : database_(path.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE) {
    for (const char* pragma : {"journal_mode = OFF", "synchronous = OFF", "temp_store = MEMORY",
                               "locking_mode = EXCLUSIVE"}) {
      SQLite::Statement(database_, absl::StrCat("PRAGMA ", pragma)).executeStep();
    }
    database_.exec("BEGIN");
    database_.exec(kDataSetSchema);
    picture_ =
        std::make_unique<SQLite::Statement>(database_, "INSERT INTO pictures VALUES (?, ?, ?)");
    encoded_ =
        std::make_unique<SQLite::Statement>(database_, "INSERT INTO encoded VALUES (?, ?, ?)");
    page_count_ = std::make_unique<SQLite::Statement>(database_, "PRAGMA page_count");
    page_bytes_ = database_.execAndGet("PRAGMA page_size").getInt64();
  }

  // Including what SQLite has not written yet.
  int64_t Bytes() {
    page_count_->reset();
    page_count_->executeStep();
    return page_count_->getColumn(0).getInt64() * page_bytes_;
  }

  void Add(int64_t group, std::string_view name, std::string_view encoded) {
    picture_->reset();
    picture_->bind(1, pictures_);
    picture_->bind(2, group);
    picture_->bind(3, std::string(name));
    picture_->exec();
    encoded_->reset();
    encoded_->bind(1, pictures_);
    encoded_->bind(2, int64_t{Crc32(encoded)});
    encoded_->bindNoCopy(3, encoded.data(), static_cast<int>(encoded.size()));
    encoded_->exec();
    ++pictures_;
  }

  void Finish(const std::vector<int64_t>& label_by_group, const std::vector<std::string>& classes) {
    SetLabels(label_by_group);
    AddClasses(classes);
    AddMeta(kPicturesKey, pictures_);
    AddMeta(kIndexChecksumKey, IndexChecksum(database_));
    database_.exec(absl::StrCat("PRAGMA user_version = ", kDataSetVersion));
    database_.exec(absl::StrCat("PRAGMA application_id = ", kDataSetApplicationId));
    database_.exec("COMMIT");
  }

 private:
  void SetLabels(const std::vector<int64_t>& label_by_group) {
    database_.exec("CREATE TEMP TABLE groups (id INTEGER PRIMARY KEY, label INTEGER)");
    SQLite::Statement add(database_, "INSERT INTO temp.groups VALUES (?, ?)");
    for (size_t group = 0; group < label_by_group.size(); ++group) {
      add.reset();
      add.bind(1, static_cast<int64_t>(group));
      add.bind(2, label_by_group[group]);
      add.exec();
    }
    database_.exec(
        "UPDATE pictures SET label = (SELECT label FROM temp.groups g WHERE g.id = "
        "pictures.label)");
  }

  void AddClasses(const std::vector<std::string>& classes) {
    SQLite::Statement add(database_, "INSERT INTO classes VALUES (?, ?)");
    for (size_t label = 0; label < classes.size(); ++label) {
      add.reset();
      add.bind(1, static_cast<int64_t>(label));
      add.bind(2, classes[label]);
      add.exec();
    }
  }

  void AddMeta(const char* key, int64_t value) {
    SQLite::Statement add(database_, "INSERT INTO meta VALUES (?, ?)");
    add.bind(1, key);
    add.bind(2, value);
    add.exec();
  }

  SQLite::Database database_;
  std::unique_ptr<SQLite::Statement> picture_;
  std::unique_ptr<SQLite::Statement> encoded_;
  std::unique_ptr<SQLite::Statement> page_count_;
  int64_t page_bytes_ = 0;
  int64_t pictures_ = 0;
};

absl::StatusOr<std::unique_ptr<DataSetWriter>> DataSetWriter::Create(fs::path path) {
  std::error_code ignored;
  if (fs::exists(path, ignored)) return absl::AlreadyExistsError("there is a file of that name");
  fs::path unfinished = path;
  unfinished += ".unfinished";
  if (unlink(unfinished.c_str()) != 0 && errno != ENOENT) return WriteError(errno);
  std::unique_ptr<DataSetWriter> writer(new DataSetWriter(std::move(path), std::move(unfinished)));
  try {
    writer->file_ = std::make_unique<File>(writer->unfinished_);
  } catch (const SQLite::Exception& error) {
    return WriteError(error);
  }
  return writer;
}

DataSetWriter::DataSetWriter(fs::path path, fs::path unfinished)
    : path_(std::move(path)), unfinished_(std::move(unfinished)) {}

DataSetWriter::~DataSetWriter() {
  file_.reset();
  if (!unfinished_.empty()) unlink(unfinished_.c_str());
}

absl::Status DataSetWriter::Add(int64_t group, std::string_view name, std::string_view encoded) {
  DENOISE_DCHECK(file_ != nullptr);
  try {
    file_->Add(group, name, encoded);
    bytes_ = file_->Bytes();
    return absl::OkStatus();
  } catch (const SQLite::Exception& error) {
    return WriteError(error);
  }
}

absl::Status DataSetWriter::Finish(const std::vector<int64_t>& label_by_group,
                                   const std::vector<std::string>& classes) {
  DENOISE_DCHECK(file_ != nullptr);
  try {
    file_->Finish(label_by_group, classes);
    bytes_ = file_->Bytes();
  } catch (const SQLite::Exception& error) {
    return WriteError(error);
  }
  file_.reset();
  return absl::OkStatus();
}

absl::Status DataSetWriter::Commit() {
  RETURN_IF_ERROR(MoveDurably(unfinished_, path_));
  unfinished_.clear();
  return absl::OkStatus();
}

}  // namespace denoise
