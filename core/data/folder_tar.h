// The tar of an image folder, made while it is read: what a client uploads.
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

// The same files give the same bytes, so that an upload that broke off can go on at any offset: names
// are sorted, and nothing but names and contents goes in. Takes memory for the names alone. Not
// thread-safe.
class FolderTar : public ByteSource {
 public:
  // Looks for pictures (files named .png, .jpg, .jpeg or .webp, in either case) in `folder` and the
  // folders below it. Names that begin with a dot are passed over; links to files are followed, links
  // to folders are not. Messages name files: they are for whoever owns them. NotFound: no such folder.
  // InvalidArgument: it has no picture, or one whose name is not UTF-8, too long, or holds control
  // characters. Unavailable: a folder cannot be read.
  static absl::StatusOr<std::unique_ptr<FolderTar>> Open(const std::filesystem::path& folder);

  // Of the whole archive.
  int64_t size() const { return size_; }
  int64_t pictures() const { return static_cast<int64_t>(members_.size()); }
  // That were passed over because they are no pictures by their names.
  int64_t other_files() const { return other_files_; }

  // Goes on reading at `offset`, between 0 and size().
  void Seek(int64_t offset) {
    DENOISE_DCHECK(offset >= 0 && offset <= size_);
    offset_ = offset;
  }

  // FailedPrecondition: a file is gone, or has another size than when the folder was opened.
  // Unavailable: it cannot be read.
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

  // The bytes of `member` from `begin` on, counted from its header.
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
