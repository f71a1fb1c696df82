#include "client/cli/commands/output_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
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

// The first line is the run's name, the others are the files that it wrote.
constexpr char kListName[] = ".denoise-run";

struct FileList {
  std::string run;
  std::vector<std::string> files;  // those that exist
};

// The list is a file that anybody may have changed: nothing outside the folder is ever touched.
bool IsBelow(const fs::path& name) {
  if (name.empty() || name.is_absolute()) return false;
  return std::none_of(name.begin(), name.end(), [](const fs::path& part) { return part == ".."; });
}

FileList ReadList(const fs::path& folder) {
  FileList list;
  std::ifstream file(folder / kListName);
  std::getline(file, list.run);
  std::error_code ignored;
  for (std::string name; std::getline(file, name);) {
    if (IsBelow(name) && fs::exists(folder / name, ignored)) list.files.push_back(name);
  }
  return list;
}

absl::Status Append(const fs::path& path, const std::string& line) {
  errno = 0;
  std::ofstream file(path, std::ios::app);
  file << line << "\n";
  file.close();
  if (file.fail()) return FileError(path, errno != 0 ? std::strerror(errno) : "the write failed");
  return absl::OkStatus();
}

bool BelongsTo(const FileList& list, const OutputRun& run) {
  return !run.name.empty() && list.run == run.name;
}

// What is in the way of `run` in this folder; empty if nothing is.
std::string ConflictIn(const fs::path& folder, const OutputRun& run) {
  const FileList list = ReadList(folder);
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

absl::StatusOr<OutputFolder> OutputFolder::Open(const fs::path& path, OutputRun run) {
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
  if (const std::string conflict = ConflictIn(path, run); !conflict.empty()) {
    return InvalidField("--out",
                        absl::StrCat(path.string(), " ", conflict,
                                     ". Add --overwrite to replace them, or choose another "
                                     "folder"));
  }
  FileList earlier = ReadList(path);
  OutputFolder folder(path, std::move(run));
  std::error_code ignored;
  folder.had_list_ = fs::exists(path / kListName, ignored);
  if (folder.run_.continues && BelongsTo(earlier, folder.run_)) {
    folder.listed_.insert(earlier.files.begin(), earlier.files.end());
  } else {
    folder.earlier_files_ = std::move(earlier.files);
  }
  return folder;
}

absl::StatusOr<OutputFolder> OutputFolder::OpenDefault(const std::string& name, OutputRun run) {
  constexpr int kMostFolders = 10000;
  std::string path = name;
  for (int i = 2; i < kMostFolders && !ConflictIn(path, run).empty(); ++i) {
    path = absl::StrCat(name, "-", i);
  }
  return Open(path, std::move(run));
}

// An earlier run is gone only once there is something to take its place.
void OutputFolder::Begin() {
  if (std::exchange(begun_, true)) return;
  std::error_code ignored;
  for (const std::string& name : earlier_files_) {
    fs::remove(path_ / name, ignored);
    const fs::path parent = fs::path(name).parent_path();
    if (!parent.empty()) fs::remove(path_ / parent, ignored);  // fails unless it is empty
  }
  if (had_list_) fs::remove(path_ / kListName, ignored);
}

// Two runs that begin at the same time cannot both make the list.
absl::Status OutputFolder::List(const std::string& name) {
  const fs::path list = path_ / kListName;
  if (!std::exchange(has_list_, true)) {
    const int file = open(list.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0) {
      return FileError(
          list, errno == EEXIST ? "another run writes to this folder, too" : std::strerror(errno));
    }
    close(file);
    RETURN_IF_ERROR(Append(list, run_.name));
    for (const std::string& earlier : listed_) RETURN_IF_ERROR(Append(list, earlier));
  }
  return listed_.insert(name).second ? Append(list, name) : absl::OkStatus();
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
