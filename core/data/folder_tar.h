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
#include "core/data/class_folders.h"
#include "core/data/entry_name.h"

namespace denoise {

// The same files give the same bytes, so an interrupted upload can resume at any offset: names are
// sorted, and only names and contents go into the archive. Memory is proportional to the names. Not
// thread-safe.
class FolderTar : public ByteSource {
 public:
  // Finds the pictures in `folder` and the folders below it: files that begin as a PNG, JPEG or
  // WebP does, whatever their names, and files that are named as one (.png, .jpg, .jpeg, .jfif,
  // .webp and so on), of which the server says what is wrong with them. Skips names that begin with
  // a dot; follows links to files, but not to folders. Leaves out all other files and such links, and
  // files whose names are not UTF-8, are too long, or contain control characters.
  //
  // Messages name files, since they are for the files' owner. NotFound: no such folder.
  // InvalidArgument: there are no pictures; or nothing is left of a folder that is a class, or
  // pictures lie both in a folder and below it, for which the server would refuse the archive.
  // FailedPrecondition: a file or a folder below it cannot be read.
  static absl::StatusOr<std::unique_ptr<FolderTar>> Open(const std::filesystem::path& folder);

  // The size of the whole archive.
  int64_t size() const { return size_; }
  int64_t pictures() const { return static_cast<int64_t>(members_.size()); }
  // Files left out because they are not pictures, or because of their names.
  int64_t other_files() const { return other_files_; }
  // The first of them, with the reason: `"cats/1.bmp" (a BMP)`. Empty if there is none.
  const std::string& other_example() const { return other_example_; }

  // Continues reading at `offset`. Requires 0 <= offset <= size().
  void Seek(int64_t offset) {
    DENOISE_DCHECK(offset >= 0 && offset <= size_);
    offset_ = offset;
  }

  // FailedPrecondition: a file is gone, has changed its size since the folder was opened, or can no
  // longer be read.
  absl::StatusOr<size_t> Read(std::span<char> buffer) override;

 private:
  struct Member {
    std::string name;    // "cats/1.png"
    int64_t size;        // of the file
    int64_t tar_offset;  // of its header
  };

  explicit FolderTar(std::filesystem::path folder);

  // Within the folder; the folder's own path for itself.
  std::string NameOf(const std::filesystem::path& path) const;
  absl::Status FindPictures();
  absl::Status AddFile(const std::filesystem::path& path);
  absl::Status LeaveOut(const EntryName& name, const std::string& reason);
  absl::Status LeaveOutFolder(const EntryName& name);
  void CountOther(const EntryName& name, const std::string& reason);
  absl::Status LayOut();

  // The bytes of `member` from `begin` on, where 0 is the start of its header.
  absl::StatusOr<size_t> ReadMember(const Member& member, int64_t begin, std::span<char> buffer);
  absl::StatusOr<size_t> ReadFile(const Member& member, int64_t begin, std::span<char> buffer);

  const std::filesystem::path folder_;
  std::vector<Member> members_;
  ClassFolders classes_;
  int64_t other_files_ = 0;
  std::string other_example_;
  int64_t size_ = 0;

  int64_t offset_ = 0;
  const Member* open_member_ = nullptr;  // whose file is open
  std::unique_ptr<ByteSource> open_file_;
  int64_t file_offset_ = 0;  // of open_file_
};

}  // namespace denoise
