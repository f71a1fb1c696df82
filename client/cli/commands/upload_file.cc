#include "client/cli/commands/upload_file.h"

#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/data/byte_source.h"
#include "core/data/folder_tar.h"

namespace denoise {
namespace {

absl::Status CannotRead(const std::string& path) {
  return absl::InvalidArgumentError(absl::StrCat("cannot read ", path));
}

class FileUpload final : public UploadSource {
 public:
  FileUpload(std::string path, std::ifstream file)
      : path_(std::move(path)), file_(std::move(file)) {}

  absl::Status Seek(int64_t offset) override {
    file_.clear();
    file_.seekg(offset);
    return file_.good() ? absl::OkStatus() : CannotRead(path_);
  }

  absl::StatusOr<std::string> Read(size_t max_bytes) override {
    std::string bytes(max_bytes, '\0');
    file_.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (file_.bad()) return CannotRead(path_);
    bytes.resize(static_cast<size_t>(file_.gcount()));
    return bytes;
  }

 private:
  const std::string path_;
  std::ifstream file_;
};

class FolderUpload final : public UploadSource {
 public:
  explicit FolderUpload(std::unique_ptr<FolderTar> tar) : tar_(std::move(tar)) {}

  absl::Status Seek(int64_t offset) override {
    if (offset < 0 || offset > tar_->size()) {
      return absl::OutOfRangeError("the server has more of this upload than there is");
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

}  // namespace

absl::StatusOr<std::unique_ptr<UploadSource>> OpenUploadSource(const std::string& path) {
  if (std::filesystem::is_directory(path)) {
    ASSIGN_OR_RETURN(std::unique_ptr<FolderTar> tar, FolderTar::Open(path));
    return std::make_unique<FolderUpload>(std::move(tar));
  }
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open() || !std::filesystem::is_regular_file(path)) return CannotRead(path);
  return std::make_unique<FileUpload>(path, std::move(file));
}

}  // namespace denoise
