// A tar archive of an image folder, generated while it is read. This is what a client uploads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/check.h"
#include "core/data/byte_source.h"

namespace denoise {

// The same files give the same bytes, so an interrupted upload can resume at any offset: names are
// sorted, and only names and contents go into the archive. Memory is proportional to the names. Not
// thread-safe.
class FolderTar : public ByteSource {
 public:
  // Finds the pictures (files named .png, .jpg, .jpeg or .webp, in either case) in `folder` and the
  // folders below it. Skips names that begin with a dot; follows links to files, but not to
  // folders. Messages name files, since they are for the files' owner. NotFound: no such folder.
  // InvalidArgument: there are no pictures, or one has a name that is not UTF-8, too long, or
  // contains control characters. Unavailable: a folder cannot be read.
  static absl::StatusOr<std::unique_ptr<FolderTar>> Open(const std::filesystem::path& folder);

  // The size of the whole archive.
  int64_t size() const { return size_; }
  int64_t pictures() const { return static_cast<int64_t>(members_.size()); }
  // Files skipped because their names are not those of pictures.
  int64_t other_files() const { return other_files_; }

  // Continues reading at `offset`. Requires 0 <= offset <= size().
  void Seek(int64_t offset) {
    DENOISE_DCHECK(offset >= 0 && offset <= size_);
    offset_ = offset;
  }

  // FailedPrecondition: a file is gone or has changed its size since the folder was opened.
  // Unavailable: a file cannot be read.
  absl::StatusOr<size_t> Read(std::span<char> buffer) override;

 private:
  struct Member {
    std::string name;    // "cats/1.png"
    int64_t size;        // of the file
    int64_t tar_offset;  // of its header
  };

  explicit FolderTar(std::filesystem::path folder) : folder_(std::move(folder)) {}

  absl::Status FindPictures();
  absl::Status AddFile(const std::filesystem::path& path);
  absl::Status LayOut();

  // The bytes of `member` from `begin` on, where 0 is the start of its header.
  absl::StatusOr<size_t> ReadMember(const Member& member, int64_t begin, std::span<char> buffer);
  absl::StatusOr<size_t> ReadFile(const Member& member, int64_t begin, std::span<char> buffer);

  const std::filesystem::path folder_;
  std::vector<Member> members_;
  int64_t other_files_ = 0;
  int64_t size_ = 0;

  int64_t offset_ = 0;
  const Member* open_member_ = nullptr;  // whose file is open
  std::unique_ptr<ByteSource> open_file_;
  int64_t file_offset_ = 0;  // of open_file_
};

}  // namespace denoise
