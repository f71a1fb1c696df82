#include "client/cli/commands/output_folder.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

absl::Status FileError(const fs::path& path, std::string_view reason) {
  return absl::InternalError(
      absl::StrCat("cannot write ", path.string(), ": ", std::string(reason)));
}

absl::Status WriteBytes(const fs::path& path, std::string_view bytes) {
  errno = 0;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (file.fail()) return FileError(path, errno != 0 ? std::strerror(errno) : "the write failed");
  return absl::OkStatus();
}

// The file is empty while its mode, if that is known, is not yet `mode`.
absl::StatusOr<WrittenFile> WriteAndRename(const fs::path& path, std::string_view bytes,
                                           fs::perms mode) {
  std::error_code error;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), error);
  if (error) return FileError(path, error.message());

  const fs::path temporary =
      path.parent_path() / absl::StrCat(".", path.filename().string(), ".", getpid(), ".part");
  absl::Status status;
  if (mode != fs::perms::unknown) {
    status = WriteBytes(temporary, "");
    if (status.ok()) fs::permissions(temporary, mode, error);
    if (error) status = FileError(path, error.message());
  }
  if (status.ok()) status = WriteBytes(temporary, bytes);
  if (status.ok()) {
    fs::rename(temporary, path, error);
    if (error) status = FileError(path, error.message());
  }
  if (!status.ok()) {
    fs::remove(temporary, error);
    return status;
  }
  return WrittenFile{path.string(), bytes.size()};
}

bool BelongsTo(const RunFiles& list, const OutputRun& run) {
  return !run.name.empty() && list.run == run.name;
}

// What is in the way of `run` in this folder; empty if nothing is.
std::string ConflictIn(const fs::path& folder, const OutputRun& run) {
  const RunFiles list = ReadRunList(folder);
  if (run.overwrite || BelongsTo(list, run)) return "";
  if (!list.files.empty()) {
    return absl::StrCat("holds the files of an earlier run, such as ", list.files.front());
  }
  std::error_code ignored;
  for (const std::string& name : run.files) {
    if (fs::exists(folder / name, ignored)) {
      return absl::StrCat("holds files of the same names, such as ", name);
    }
  }
  return "";
}

absl::Status InTheWay(const fs::path& folder, const std::string& what) {
  return absl::AlreadyExistsError(absl::StrCat(folder.string(), " ", what));
}

absl::Status CheckConflicts(const fs::path& folder, const OutputRun& run) {
  const std::string conflict = ConflictIn(folder, run);
  if (conflict.empty()) return absl::OkStatus();
  return InTheWay(folder, absl::StrCat(conflict,
                                       ". Add --overwrite to replace them, or choose "
                                       "another folder"));
}

absl::Status MakeFolder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  // Tells an existing file, or a link to nowhere, from the folder it should be.
  if (error || !fs::is_directory(path, error)) {
    return InvalidField("--out", absl::StrCat("cannot create the folder ", path.string(), ": ",
                                              error ? error.message() : "a file is in its place"));
  }
  if (access(path.c_str(), W_OK | X_OK) != 0) {
    return InvalidField("--out", absl::StrCat("cannot write to the folder ", path.string(), ": ",
                                              std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckNewFile(const std::string& flag, const fs::path& path, bool overwrite) {
  std::error_code ignored;
  if (overwrite || !fs::exists(path, ignored)) return absl::OkStatus();
  return InvalidField(flag,
                      absl::StrCat(path.string(),
                                   " exists. Add --overwrite to replace it, or choose another "
                                   "name"));
}

absl::StatusOr<WrittenFile> WriteWholeFile(const fs::path& path, std::string_view bytes) {
  return WriteAndRename(path, bytes, fs::perms::unknown);
}

absl::StatusOr<WrittenFile> WritePrivateFile(const fs::path& path, std::string_view bytes) {
  return WriteAndRename(path, bytes, fs::perms::owner_read | fs::perms::owner_write);
}

absl::StatusOr<OutputFolder> OutputFolder::OpenFree(const fs::path& path, const OutputRun& run) {
  RETURN_IF_ERROR(MakeFolder(path));
  RETURN_IF_ERROR(CheckConflicts(path, run));
  absl::StatusOr<RunList> list = RunList::Lock(path);
  if (absl::IsAlreadyExists(list.status())) {
    return InTheWay(path,
                    "is where another run writes now. Wait until it ends, or choose another "
                    "folder");
  }
  RETURN_IF_ERROR(list.status());
  RETURN_IF_ERROR(CheckConflicts(path, run));  // a run may have ended since
  OutputFolder folder(path, run, *std::move(list));
  RunFiles earlier = ReadRunList(path);
  if (run.continues && BelongsTo(earlier, run)) {
    folder.listed_.insert(earlier.files.begin(), earlier.files.end());
  } else {
    folder.earlier_files_ = std::move(earlier.files);
  }
  return folder;
}

absl::StatusOr<OutputFolder> OutputFolder::Open(const fs::path& path, const OutputRun& run) {
  absl::StatusOr<OutputFolder> folder = OpenFree(path, run);
  if (!absl::IsAlreadyExists(folder.status())) return folder;
  return InvalidField("--out", std::string(folder.status().message()));
}

absl::StatusOr<OutputFolder> OutputFolder::OpenDefault(const std::string& name,
                                                       const OutputRun& run) {
  constexpr int kMostFolders = 10000;
  for (int i = 1; i < kMostFolders; ++i) {
    const std::string path = i == 1 ? name : absl::StrCat(name, "-", i);
    absl::StatusOr<OutputFolder> folder = OpenFree(path, run);
    if (!absl::IsAlreadyExists(folder.status())) return folder;
  }
  return Open(absl::StrCat(name, "-", kMostFolders), run);
}

// An earlier run is gone only once there is something to take its place.
void OutputFolder::Begin() {
  if (std::exchange(begun_, true)) return;
  for (const std::string& name : earlier_files_) RemoveListedFile(path_, name);
}

absl::Status OutputFolder::List(const std::string& name) {
  if (!std::exchange(has_list_, true)) {
    RETURN_IF_ERROR(list_.Start({run_.name, {listed_.begin(), listed_.end()}}));
  }
  return listed_.insert(name).second ? list_.Add(name) : absl::OkStatus();
}

absl::StatusOr<WrittenFile> OutputFolder::Write(const std::string& name, std::string_view bytes) {
  Begin();
  ASSIGN_OR_RETURN(WrittenFile file, WriteWholeFile(path_ / name, bytes));
  RETURN_IF_ERROR(List(name));
  return file;
}

absl::StatusOr<std::string> OutputFolder::WriteSheet(const std::string& name,
                                                     const absl::StatusOr<Image>& sheet) {
  return WriteUnlessTooLarge(path_ / name,
                             sheet.ok() ? EncodeImage(*sheet, ImageFormat::kPng) : sheet.status());
}

absl::StatusOr<std::string> OutputFolder::WriteUnlessTooLarge(
    const fs::path& path, const absl::StatusOr<std::string>& bytes) {
  if (absl::IsInvalidArgument(bytes.status())) {
    absl::StrAppend(&left_out_, left_out_.empty() ? "" : "; ", path.filename().string(), ": ",
                    bytes.status().message());
    return "";
  }
  RETURN_IF_ERROR(bytes.status());
  const std::string name = path.filename().string();
  ASSIGN_OR_RETURN(const WrittenFile file,
                   path == path_ / name ? Write(name, *bytes) : WriteWholeFile(path, *bytes));
  return file.path;
}

}  // namespace denoise
