#include "server/jobs/store/state_database.h"

#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "core/base/status_macros.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

bool HasBytes(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return !error && size > 0;
}

fs::path Beside(const fs::path& database, const char* suffix) {
  return fs::path(database.string() + suffix);
}

// The journal goes first: SQLite would apply one that is left over to the next database.
absl::Status MoveJournal(const fs::path& database, SetAside& set_aside, std::string_view reason) {
  for (const char* suffix : {"-wal", "-shm", "-journal"}) {
    const fs::path path = Beside(database, suffix);
    if (HasBytes(path)) RETURN_IF_ERROR(set_aside.Move(path, reason));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> OpenStateDatabase(const StateDir& state,
                                                            SetAside& set_aside) {
  const fs::path path = state.database();
  if (!HasBytes(path)) {
    RETURN_IF_ERROR(MoveJournal(path, set_aside, "its database is missing or empty"));
  }
  auto database = Database::Open(path);
  if (!absl::IsDataLoss(database.status())) return database;
  const std::string reason(database.status().message());
  RETURN_IF_ERROR(MoveJournal(path, set_aside, reason));
  RETURN_IF_ERROR(set_aside.Move(path, reason));
  return Database::Open(path);
}

}  // namespace denoise
