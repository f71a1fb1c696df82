#include "server/jobs/store/database.h"

#include <SQLiteCpp/Statement.h>
#include <sqlite3.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/jobs/store/schema.h"

namespace denoise {
namespace {

// Another process may be reading the file, for example a backup.
constexpr int kBusyTimeoutMs = 5000;

int Pragma(SQLite::Database& connection, const char* name) {
  return connection.execAndGet(absl::StrCat("PRAGMA ", name)).getInt();
}

// The file is not trusted: its schema may neither run functions nor be edited directly. The pragmas
// are statements because some return a row, which exec() would refuse.
void Configure(SQLite::Database& connection) {
  connection.setBusyTimeout(kBusyTimeoutMs);
  sqlite3_db_config(connection.getHandle(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(connection.getHandle(), SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  for (const char* pragma :
       {"cell_size_check = ON", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"}) {
    SQLite::Statement(connection, absl::StrCat("PRAGMA ", pragma)).executeStep();
  }
}

absl::Status Migrate(SQLite::Database& connection) {
  const int newest = static_cast<int>(Migrations().size());
  // Nothing is written to an up-to-date file: the disk may be full.
  if (Pragma(connection, "user_version") == newest &&
      Pragma(connection, "application_id") == kApplicationId) {
    return absl::OkStatus();
  }
  SQLite::Transaction transaction(connection, SQLite::TransactionBehavior::IMMEDIATE);
  const int version = Pragma(connection, "user_version");
  const int application = Pragma(connection, "application_id");
  const bool is_new =
      version == 0 && connection.execAndGet("SELECT count(*) FROM sqlite_schema").getInt() == 0;
  if (!is_new && application != kApplicationId) {
    return absl::DataLossError("it was not made by this program");
  }
  if (version > newest) {
    return absl::FailedPreconditionError(absl::StrCat("a newer version of this program made it (",
                                                      version, "; this one knows ", newest, ")"));
  }
  for (int i = version; i < newest; ++i) connection.exec(Migrations()[i]);
  connection.exec(absl::StrCat("PRAGMA user_version = ", newest));
  connection.exec(absl::StrCat("PRAGMA application_id = ", kApplicationId));
  transaction.commit();
  return absl::OkStatus();
}

std::vector<std::string> Schema(SQLite::Database& connection) {
  std::vector<std::string> schema;
  SQLite::Statement rows(connection,
                         "SELECT type || name || tbl_name || ifnull(sql, '') FROM sqlite_schema "
                         "WHERE name NOT LIKE 'sqlite_stat%' ORDER BY 1");
  while (rows.executeStep()) schema.push_back(rows.getColumn(0).getString());
  return schema;
}

// A trigger or a view that somebody has added would run with our rights.
absl::Status CheckSchema(SQLite::Database& connection) {
  SQLite::Database ours(":memory:", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
  for (const char* migration : Migrations()) ours.exec(migration);
  if (Schema(connection) == Schema(ours)) return absl::OkStatus();
  return absl::DataLossError("its tables are not those of this program");
}

absl::Status CheckContents(SQLite::Database& connection) {
  const std::string found = connection.execAndGet("PRAGMA quick_check(1)").getString();
  if (found != "ok") return absl::DataLossError(absl::StrCat("it is damaged: ", found));
  SQLite::Statement broken_references(connection, "PRAGMA foreign_key_check");
  if (broken_references.executeStep()) {
    return absl::DataLossError("it is damaged: a row refers to one that is missing");
  }
  return absl::OkStatus();
}

absl::Status Prepare(SQLite::Database& connection) {
  Configure(connection);
  RETURN_IF_ERROR(Migrate(connection));
  RETURN_IF_ERROR(CheckSchema(connection));
  return CheckContents(connection);
}

absl::Status ForOperator(const std::filesystem::path& path, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrCat(path.string(), " cannot be used: ", status.message()));
}

absl::StatusOr<std::unique_ptr<SQLite::Database>> Connect(const std::filesystem::path& path) {
  try {
    auto connection = std::make_unique<SQLite::Database>(
        path.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE | SQLite::OPEN_FULLMUTEX);
    const absl::Status status = Prepare(*connection);
    if (!status.ok()) return ForOperator(path, status);
    return connection;
  } catch (const SQLite::Exception& error) {
    return ForOperator(path, absl::Status(StatusFromSqlite(error).code(), error.what()));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::filesystem::path& path) {
  auto reserve = std::make_unique<DiskReserve>(path.parent_path() / "reserve");
  auto connection = Connect(path);
  if (absl::IsResourceExhausted(connection.status())) {  // its journal takes some room
    reserve->Release();
    connection = Connect(path);
    reserve->Take();
  }
  RETURN_IF_ERROR(connection.status());
  return std::unique_ptr<Database>(new Database(*std::move(connection), std::move(reserve)));
}

absl::Status StatusFromSqlite(const SQLite::Exception& error) {
  // The index of the journal, which it maps into memory, is the one file that SQLite extends
  // without calling a lack of room that.
  if (error.getExtendedErrorCode() == SQLITE_IOERR_SHMSIZE) {
    return absl::ResourceExhaustedError("the server's disk is full");
  }
  switch (error.getErrorCode()) {
    case SQLITE_FULL:
      return absl::ResourceExhaustedError("the server's disk is full");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError("the server's state is damaged");
    case SQLITE_BUSY:
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
    case SQLITE_READONLY:
      return absl::UnavailableError("the server's state cannot be read or written now");
    default:
      return absl::InternalError(absl::StrCat("SQLite: ", error.what()));
  }
}

}  // namespace denoise
