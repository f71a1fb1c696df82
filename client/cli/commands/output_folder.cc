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

}  // namespace

absl::StatusOr<WrittenFile> WriteWholeFile(const fs::path& path, std::string_view bytes) {
  std::error_code error;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), error);
  if (error) return FileError(path, error.message());

  const fs::path temporary =
      path.parent_path() / absl::StrCat(".", path.filename().string(), ".", getpid(), ".part");
  absl::Status status = WriteBytes(temporary, bytes);
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

absl::StatusOr<OutputFolder> OutputFolder::Open(const fs::path& path) {
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
  return OutputFolder(path);
}

absl::StatusOr<WrittenFile> OutputFolder::Write(const std::string& name, std::string_view bytes) {
  return WriteWholeFile(path_ / name, bytes);
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
  ASSIGN_OR_RETURN(const WrittenFile file, WriteWholeFile(path, *bytes));
  return file.path;
}

}  // namespace denoise
