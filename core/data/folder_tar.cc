#include "core/data/folder_tar.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/data/entry_name.h"
#include "core/data/tar_header.h"
#include "core/data/upload_reader.h"
#include "core/image/image.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 8> kExtensions = {".png", ".jpg",  ".jpeg", ".jpe",
                                                         ".jif", ".jfif", ".jfi",  ".webp"};

// Two blocks of zeros end an archive.
constexpr int64_t kEndBytes = 2 * kTarBlockBytes;

bool IsHidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

bool IsNamedAsPicture(const fs::path& path) {
  const std::string extension = absl::AsciiStrToLower(path.extension().string());
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

absl::StatusOr<std::string> FirstBytes(const fs::path& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> file, OpenFileSource(path));
  return ReadString(*file, kMagicBytes);
}

// Not Unavailable, whatever went wrong: that is for servers.
absl::Status CannotRead(const std::string& name, absl::string_view reason) {
  return absl::FailedPreconditionError(absl::StrCat("cannot read ", Quoted(name), ": ", reason));
}

absl::Status HasChanged(const std::string& name) {
  return absl::FailedPreconditionError(
      absl::StrCat(Quoted(name), " has changed since the folder was looked at; begin again"));
}

std::string WholeName(const EntryName& name) {
  return name.folder.empty() ? name.file : absl::StrCat(name.folder, "/", name.file);
}

size_t CopyFrom(std::string_view bytes, int64_t begin, std::span<char> buffer) {
  const std::string_view rest = bytes.substr(static_cast<size_t>(begin));
  const size_t size = std::min(rest.size(), buffer.size());
  std::memcpy(buffer.data(), rest.data(), size);
  return size;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FolderTar>> FolderTar::Open(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    return absl::NotFoundError(absl::StrCat(Quoted(folder.string()), " is not a folder"));
  }
  std::unique_ptr<FolderTar> tar(new FolderTar(folder));
  RETURN_IF_ERROR(tar->FindPictures());
  RETURN_IF_ERROR(tar->LayOut());
  return tar;
}

FolderTar::FolderTar(fs::path folder)
    : folder_(std::move(folder)),
      classes_(UploadLimits().max_folders, UploadLimits().max_classes) {}

std::string FolderTar::NameOf(const fs::path& path) const {
  return path == folder_ ? path.string() : path.lexically_relative(folder_).generic_string();
}

absl::Status FolderTar::FindPictures() {
  std::vector<fs::path> files;
  std::vector<fs::path> folders = {folder_};
  while (!folders.empty()) {
    const fs::path folder = std::move(folders.back());
    folders.pop_back();
    std::error_code error;
    fs::directory_iterator entry(folder, error);
    for (; !error && entry != end(entry); entry.increment(error)) {
      if (IsHidden(entry->path())) continue;
      const fs::file_type type = entry->symlink_status(error).type();
      if (error) return CannotRead(NameOf(entry->path()), error.message());
      (type == fs::file_type::directory ? folders : files).push_back(entry->path());
    }
    if (error) return CannotRead(NameOf(folder), error.message());
  }
  std::sort(files.begin(), files.end());  // so that examples are the same every time
  for (const fs::path& path : files) RETURN_IF_ERROR(AddFile(path));
  return absl::OkStatus();
}

absl::Status FolderTar::AddFile(const fs::path& path) {
  std::string name = NameOf(path);
  ASSIGN_OR_RETURN(const EntryName parsed, ParseEntryName(name));
  std::error_code error;
  const fs::file_type type = fs::status(path, error).type();
  // Not followed, and so a folder without pictures; any other file counts for the folder it is in.
  if (type == fs::file_type::directory) return LeaveOutFolder(parsed);
  if (!parsed.problem.empty()) return LeaveOut(parsed, parsed.problem);
  if (type == fs::file_type::not_found || error == std::errc::too_many_symbolic_link_levels) {
    return LeaveOut(parsed, "a link that leads to no file");
  }
  if (error) return CannotRead(name, error.message());
  if (type != fs::file_type::regular) return LeaveOut(parsed, "not a plain file");
  const absl::StatusOr<std::string> start = FirstBytes(path);
  if (!start.ok()) return CannotRead(name, start.status().message());
  if (!RecogniseFormat(*start) && !IsNamedAsPicture(path)) {
    const std::string other = DescribeOtherFormat(*start);
    return LeaveOut(parsed, other.empty() ? "not a picture" : other);
  }
  const uintmax_t size = fs::file_size(path, error);
  if (error) return CannotRead(name, error.message());
  ASSIGN_OR_RETURN(const int64_t folder, classes_.Find(parsed.folder));
  classes_.AddPicture(folder);
  members_.push_back({std::move(name), static_cast<int64_t>(size), 0});
  return absl::OkStatus();
}

absl::Status FolderTar::LeaveOutFolder(const EntryName& name) {
  constexpr char kReason[] = "a link to a folder, which is not followed";
  ASSIGN_OR_RETURN(const int64_t folder, classes_.Find(WholeName(name)));
  classes_.AddOtherFile(folder, "", kReason);
  CountOther(name, kReason);
  return absl::OkStatus();
}

absl::Status FolderTar::LeaveOut(const EntryName& name, const std::string& reason) {
  ASSIGN_OR_RETURN(const int64_t folder, classes_.Find(name.folder));
  classes_.AddOtherFile(folder, name.file, reason);
  CountOther(name, reason);
  return absl::OkStatus();
}

void FolderTar::CountOther(const EntryName& name, const std::string& reason) {
  if (other_files_++ > 0) return;
  const std::string whole = WholeName(name);
  // Names with a problem are escaped already.
  const std::string shown = name.problem.empty() ? Quoted(whole) : absl::StrCat("\"", whole, "\"");
  other_example_ = absl::StrCat(shown, " (", reason, ")");
}

absl::Status FolderTar::LayOut() {
  if (members_.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "there is no picture in ", Quoted(folder_.string()),
        other_files_ == 0
            ? ""
            : absl::StrCat("; it has ", other_files_, " other ",
                           other_files_ == 1 ? "file" : "files", ", for example ", other_example_),
        "; PNG, JPEG and WebP files are read"));
  }
  RETURN_IF_ERROR(classes_.Resolve().status());
  std::sort(members_.begin(), members_.end(),
            [](const Member& a, const Member& b) { return a.name < b.name; });
  for (Member& member : members_) {
    member.tar_offset = size_;
    size_ += static_cast<int64_t>(MakeTarHeader(member.name, member.size).size());
    size_ += member.size + TarPadding(member.size);
  }
  size_ += kEndBytes;
  return absl::OkStatus();
}

absl::StatusOr<size_t> FolderTar::Read(std::span<char> buffer) {
  const auto rest = static_cast<size_t>(std::max<int64_t>(0, size_ - offset_));
  buffer = buffer.first(std::min(buffer.size(), rest));
  if (buffer.empty()) return 0;
  const auto after = std::upper_bound(
      members_.begin(), members_.end(), offset_,
      [](int64_t offset, const Member& member) { return offset < member.tar_offset; });
  const Member& member = *std::prev(after);
  ASSIGN_OR_RETURN(const size_t size, ReadMember(member, offset_ - member.tar_offset, buffer));
  offset_ += static_cast<int64_t>(size);
  return size;
}

absl::StatusOr<size_t> FolderTar::ReadMember(const Member& member, int64_t begin,
                                             std::span<char> buffer) {
  const std::string header = MakeTarHeader(member.name, member.size);
  const auto header_size = static_cast<int64_t>(header.size());
  if (begin < header_size) return CopyFrom(header, begin, buffer);
  const int64_t content_begin = begin - header_size;
  if (content_begin < member.size) {
    absl::StatusOr<size_t> size = ReadFile(member, content_begin, buffer);
    const bool explained = size.ok() || absl::IsFailedPrecondition(size.status());
    return explained ? size : CannotRead(member.name, size.status().message());
  }
  // Zeros pad the last block; after the last member they also end the archive.
  const bool is_last = &member == &members_.back();
  const int64_t zeros_end = member.size + TarPadding(member.size) + (is_last ? kEndBytes : 0);
  const size_t size = std::min(buffer.size(), static_cast<size_t>(zeros_end - content_begin));
  std::fill_n(buffer.begin(), size, '\0');
  return size;
}

absl::StatusOr<size_t> FolderTar::ReadFile(const Member& member, int64_t begin,
                                           std::span<char> buffer) {
  if (open_member_ != &member || file_offset_ != begin) {
    open_member_ = nullptr;
    absl::StatusOr<std::unique_ptr<ByteSource>> file = OpenFileSource(folder_ / member.name);
    if (absl::IsNotFound(file.status()) || absl::IsInvalidArgument(file.status())) {
      return HasChanged(member.name);
    }
    RETURN_IF_ERROR(file.status());
    open_file_ = *std::move(file);
    ASSIGN_OR_RETURN(file_offset_, Skip(*open_file_, begin));
    open_member_ = &member;
  }
  const int64_t left = member.size - begin;
  ASSIGN_OR_RETURN(
      const size_t size,
      open_file_->Read(buffer.first(std::min(buffer.size(), static_cast<size_t>(left)))));
  if (size == 0) return HasChanged(member.name);
  file_offset_ += static_cast<int64_t>(size);
  if (file_offset_ < member.size) return size;
  ASSIGN_OR_RETURN(const int64_t more, Skip(*open_file_, 1));  // whether it has grown
  if (more > 0) return HasChanged(member.name);
  return size;
}

}  // namespace denoise
