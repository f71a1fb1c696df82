#include "client/cli/commands/upload_source.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/data/byte_source.h"
#include "core/data/folder_tar.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

absl::Status CannotRead(const std::string& path, const std::string& reason) {
  return absl::InvalidArgumentError(absl::StrCat("cannot read ", path, ": ", reason));
}

class FileUpload final : public SizedSource {
 public:
  FileUpload(std::string path, std::ifstream file, int64_t size)
      : path_(std::move(path)), file_(std::move(file)), size_(size) {}

  int64_t size() const override { return size_; }

  absl::Status Seek(int64_t offset) override {
    file_.clear();
    file_.seekg(offset);
    return file_.good() ? absl::OkStatus() : CannotRead(path_, "it has no such place");
  }

  absl::StatusOr<std::string> Read(size_t max_bytes) override {
    std::string bytes(max_bytes, '\0');
    file_.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (file_.bad()) return CannotRead(path_, std::strerror(errno));
    bytes.resize(static_cast<size_t>(file_.gcount()));
    return bytes;
  }

 private:
  const std::string path_;
  std::ifstream file_;
  const int64_t size_;
};

class FolderUpload final : public SizedSource {
 public:
  explicit FolderUpload(std::unique_ptr<FolderTar> tar) : tar_(std::move(tar)) {}

  int64_t size() const override { return tar_->size(); }

  absl::Status Seek(int64_t offset) override {
    if (offset < 0 || offset > tar_->size()) {
      return absl::OutOfRangeError(
          "the server claims to have more bytes than this upload has. Delete the data set and "
          "upload it again.");
    }
    tar_->Seek(offset);
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Read(size_t max_bytes) override {
    return ReadString(*tar_, max_bytes);
  }

 private:
  const std::unique_ptr<FolderTar> tar_;
};

void WarnOfOtherFiles(const FolderTar& tar) {
  if (tar.other_files() == 0) return;
  std::fprintf(stderr, "denoise: left out %lld %s, for example %s\n",
               static_cast<long long>(tar.other_files()), tar.other_files() == 1 ? "file" : "files",
               tar.other_example().c_str());
}

}  // namespace

absl::StatusOr<std::unique_ptr<SizedSource>> OpenUploadSource(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    ASSIGN_OR_RETURN(std::unique_ptr<FolderTar> tar, FolderTar::Open(path));
    WarnOfOtherFiles(*tar);
    return std::make_unique<FolderUpload>(std::move(tar));
  }
  // Asked first: opening a pipe waits for somebody to write to it.
  if (!fs::is_regular_file(path, error)) {
    return CannotRead(path, error ? error.message() : "it is neither a file nor a folder");
  }
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open()) return CannotRead(path, std::strerror(errno));
  const uintmax_t size = fs::file_size(path, error);
  if (error) return CannotRead(path, error.message());
  if (size == 0) return absl::InvalidArgumentError(absl::StrCat(path, " is empty"));
  return std::make_unique<FileUpload>(path, std::move(file), static_cast<int64_t>(size));
}

std::string DataSetNameOf(const fs::path& path) {
  fs::path last = path.has_filename() ? path.filename() : path.parent_path().filename();
  if (last == "." || last == "..") {
    std::error_code ignored;
    last = fs::canonical(path, ignored).filename();
  }
  const std::string name = last.string();
  return name.substr(0, name.find('.', 1));
}

}  // namespace denoise
