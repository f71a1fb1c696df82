#include "client/cli/commands/run_list.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

// The first line is the run's name, the others are the files that it wrote.
constexpr char kListName[] = ".denoise-run";

absl::Status WriteError(const fs::path& path) {
  return absl::InternalError(
      absl::StrCat("cannot write ", path.string(), ": ", std::strerror(errno)));
}

bool IsBelow(const fs::path& name) {
  if (name.empty() || name.is_absolute()) return false;
  return std::none_of(name.begin(), name.end(), [](const fs::path& part) { return part == ".."; });
}

// The folder that holds `name`, below `folder`; nullopt if a link or anything else is in the way.
std::optional<FileDescriptor> OpenParent(const fs::path& folder, const fs::path& name) {
  if (!IsBelow(name)) return std::nullopt;
  FileDescriptor at(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (const fs::path& part : name.parent_path()) {
    if (at.get() < 0) break;
    at = FileDescriptor(
        openat(at.get(), part.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  }
  if (at.get() < 0) return std::nullopt;
  return at;
}

bool Exists(const fs::path& folder, const fs::path& name) {
  const std::optional<FileDescriptor> parent = OpenParent(folder, name);
  struct stat ignored;
  return parent &&
         fstatat(parent->get(), name.filename().c_str(), &ignored, AT_SYMLINK_NOFOLLOW) == 0;
}

// Whether `file` is still the one at `path`: the run that had it may have removed it meanwhile.
bool IsAt(const fs::path& path, int file) {
  struct stat there, here;
  return stat(path.c_str(), &there) == 0 && fstat(file, &here) == 0 &&
         there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}

}  // namespace

RunFiles ReadRunList(const fs::path& folder) {
  RunFiles list;
  std::ifstream file(folder / kListName);
  std::getline(file, list.run);
  for (std::string name; std::getline(file, name);) {
    if (Exists(folder, name)) list.files.push_back(name);
  }
  return list;
}

void RemoveListedFile(const fs::path& folder, const std::string& name) {
  const fs::path path = name;
  if (const auto parent = OpenParent(folder, path)) {
    unlinkat(parent->get(), path.filename().c_str(), 0);
  }
  if (!path.has_parent_path()) return;
  if (const auto above = OpenParent(folder, path.parent_path())) {
    // Fails unless it is empty.
    unlinkat(above->get(), path.parent_path().filename().c_str(), AT_REMOVEDIR);
  }
}

absl::StatusOr<RunList> RunList::Lock(const fs::path& folder) {
  const fs::path path = folder / kListName;
  while (true) {
    FileDescriptor file(open(
        path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666));
    if (file.get() < 0) return WriteError(path);
    // Where the file system has no locks, runs at the same time are the user's business.
    if (flock(file.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      return absl::AlreadyExistsError("another run has it");
    }
    if (IsAt(path, file.get())) return RunList(path, std::move(file));
  }
}

RunList::~RunList() {
  struct stat state;
  if (file_.get() < 0 || fstat(file_.get(), &state) != 0 || state.st_size > 0) return;
  unlink(path_.c_str());
}

absl::Status RunList::Start(const RunFiles& run) {
  if (ftruncate(file_.get(), 0) != 0) return WriteError(path_);
  std::string text = absl::StrCat(run.run, "\n");
  for (const std::string& name : run.files) absl::StrAppend(&text, name, "\n");
  return Append(text);
}

absl::Status RunList::Add(const std::string& name) { return Append(absl::StrCat(name, "\n")); }

absl::Status RunList::Append(const std::string& text) {
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t written = write(file_.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return WriteError(path_);
    rest.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

}  // namespace denoise
