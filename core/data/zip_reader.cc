#include "core/data/zip_reader.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <functional>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/data/data_set_schema.h"

namespace denoise {
namespace {

constexpr uint16_t kStored = 0;
constexpr uint16_t kDeflated = 8;

absl::Status CutShort() { return absl::InvalidArgumentError("the zip archive is cut short"); }

struct Tail {
  std::string bytes;  // the last of the archive
  int64_t archive_bytes = 0;
};

absl::StatusOr<Tail> ReadTail(ByteSource& archive) {
  constexpr size_t kPieceBytes = 2 * kMaxZipEndBytes;
  Tail tail;
  std::string piece(kPieceBytes, '\0');
  for (;;) {
    ASSIGN_OR_RETURN(const size_t size, ReadFully(archive, piece));
    tail.archive_bytes += static_cast<int64_t>(size);
    tail.bytes.append(piece, 0, size);
    if (tail.bytes.size() > kMaxZipEndBytes) {
      tail.bytes.erase(0, tail.bytes.size() - kMaxZipEndBytes);
    }
    if (size < piece.size()) return tail;
  }
}

absl::Status SkipAll(ByteSource& source, int64_t bytes) {
  ASSIGN_OR_RETURN(const int64_t skipped, Skip(source, bytes));
  return skipped == bytes ? absl::OkStatus() : CutShort();
}

absl::StatusOr<std::string> ReadAll(ByteSource& source, size_t bytes) {
  ASSIGN_OR_RETURN(std::string text, ReadString(source, bytes));
  if (text.size() < bytes) return CutShort();
  return text;
}

// Unpacks deflated bytes piece by piece. Not thread-safe.
class Inflater {
 public:
  ~Inflater() { inflateEnd(&stream_); }

  // Exactly `unpacked_bytes`, which the deflated ones must end with; nullopt where they do not, or
  // are damaged. Memory grows with what there is. ResourceExhausted: out of memory.
  absl::StatusOr<std::optional<std::string>> Inflate(std::string_view packed,
                                                     size_t unpacked_bytes) {
    if (inflateInit2(&stream_, -MAX_WBITS) != Z_OK) {
      return absl::ResourceExhaustedError("not enough memory to unpack");
    }
    std::string bytes;
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
    stream_.avail_in = static_cast<uInt>(packed.size());
    for (;;) {
      const size_t before = bytes.size();
      // One byte more than there should be shows that there are too many.
      const size_t room = std::min(unpacked_bytes + 1 - before, std::max(before, kFirstBytes));
      bytes.resize(before + room);
      stream_.next_out = reinterpret_cast<Bytef*>(bytes.data() + before);
      stream_.avail_out = static_cast<uInt>(room);
      const int result = inflate(&stream_, Z_NO_FLUSH);
      bytes.resize(before + room - stream_.avail_out);
      if (result == Z_MEM_ERROR) return absl::ResourceExhaustedError("not enough memory to unpack");
      if (bytes.size() > unpacked_bytes) return std::nullopt;
      if (result == Z_STREAM_END) {
        if (bytes.size() < unpacked_bytes) return std::nullopt;
        return bytes;
      }
      if (result != Z_OK || bytes.size() == before) return std::nullopt;
    }
  }

 private:
  static constexpr size_t kFirstBytes = size_t{64} << 10;
  z_stream stream_ = {};
};

}  // namespace

bool LooksLikeZip(std::string_view start) {
  return start.starts_with("PK\x03\x04") || start.starts_with("PK\x05\x06");
}

absl::StatusOr<std::unique_ptr<ZipReader>> ZipReader::Open(const OpenBytes& archive,
                                                           const UploadLimits& limits) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> all, archive());
  ASSIGN_OR_RETURN(const Tail tail, ReadTail(*all));
  ASSIGN_OR_RETURN(const ZipEnd end, ParseZipEnd(tail.bytes, tail.archive_bytes));
  ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> list, archive());
  RETURN_IF_ERROR(SkipAll(*list, end.list_offset));
  ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> files, archive());
  return std::unique_ptr<ZipReader>(new ZipReader(std::move(list), std::move(files), end, limits));
}

absl::StatusOr<std::optional<UploadEntry>> ZipReader::Next() {
  while (entries_read_ < end_.entries) {
    ++entries_read_;
    ASSIGN_OR_RETURN(const ZipEntry entry, ReadEntry());
    if (entry.name.ends_with('/')) continue;  // a folder
    absl::StatusOr<EntryName> name = ParseEntryName(entry.name);
    if (!name.ok()) {
      // It is never written to a disk under this name, but whoever made it meant no picture.
      name = EntryName{.folder = "",
                       .file = Escaped(entry.name),
                       .hidden = false,
                       .problem = "its name would lead out of the archive's folder"};
    }
    if (name->hidden) continue;
    ASSIGN_OR_RETURN(UploadEntry taken, TakeEntry(entry, *std::move(name)));
    return taken;
  }
  return std::nullopt;
}

absl::StatusOr<ZipEntry> ZipReader::ReadEntry() {
  ASSIGN_OR_RETURN(const std::string fixed, ReadAll(*list_, kZipEntryBytes));
  ASSIGN_OR_RETURN(const size_t variable_bytes, ZipEntryVariableBytes(fixed));
  list_offset_ += static_cast<int64_t>(fixed.size() + variable_bytes);
  if (list_offset_ > end_.list_bytes) return CutShort();
  ASSIGN_OR_RETURN(const std::string variable, ReadAll(*list_, variable_bytes));
  return ParseZipEntry(fixed, variable);
}

absl::StatusOr<UploadEntry> ZipReader::TakeEntry(const ZipEntry& entry, EntryName name) {
  UploadEntry taken = {std::move(name.folder), std::move(name.file), "", std::move(name.problem)};
  if (taken.file.empty()) taken.problem = "it has no name";
  if (taken.problem.empty()) taken.problem = Problem(entry);
  if (!taken.problem.empty()) return taken;
  RETURN_IF_ERROR(SeekData(entry));
  ASSIGN_OR_RETURN(taken.bytes, ReadData(entry));
  if (taken.bytes.empty()) taken.problem = "its packed data is damaged";
  return taken;
}

std::string ZipReader::Problem(const ZipEntry& entry) {
  if (entry.is_link) return "a link, which is not followed";
  if (entry.encrypted) return "it is encrypted";
  if (entry.method != kStored && entry.method != kDeflated) {
    return absl::StrCat("it is packed by method ", entry.method,
                        "; only stored and deflated files are read");
  }
  if (entry.unpacked_bytes == 0) return "the file is empty";
  if (entry.unpacked_bytes > limits_.max_file_bytes) {
    return absl::StrCat("the file has ", entry.unpacked_bytes, " bytes; at most ",
                        limits_.max_file_bytes, " are read");
  }
  const bool is_possible = entry.method == kStored
                               ? entry.packed_bytes == entry.unpacked_bytes
                               : entry.packed_bytes <= entry.unpacked_bytes + (64 << 10) * 2;
  if (!is_possible) return "its packed data is damaged";
  if (!names_.insert(std::hash<std::string>()(entry.name)).second) {
    return "the archive has another file of this name";
  }
  return "";
}

absl::Status ZipReader::SeekData(const ZipEntry& entry) {
  const int64_t offset = entry.offset + end_.shift;
  if (offset < files_end_) {
    return absl::InvalidArgumentError(
        "the files of the zip archive overlap, or are not in the order of its list; pack it again");
  }
  if (entry.unpacked_bytes > limits_.max_unpacked_bytes - unpacked_bytes_) {
    return absl::InvalidArgumentError(absl::StrCat(
        "it unpacks to more than ", limits_.max_unpacked_bytes, " bytes, the maximum"));
  }
  unpacked_bytes_ += entry.unpacked_bytes;
  RETURN_IF_ERROR(SkipAll(*files_, offset - files_offset_));
  ASSIGN_OR_RETURN(const std::string fixed, ReadAll(*files_, kZipHeaderBytes));
  ASSIGN_OR_RETURN(const size_t variable_bytes, ZipHeaderVariableBytes(fixed));
  RETURN_IF_ERROR(SkipAll(*files_, static_cast<int64_t>(variable_bytes)));
  files_offset_ = offset + static_cast<int64_t>(fixed.size() + variable_bytes);
  files_end_ = files_offset_ + entry.packed_bytes;
  return absl::OkStatus();
}

// Empty where the data is damaged: the file is left out.
absl::StatusOr<std::string> ZipReader::ReadData(const ZipEntry& entry) {
  ASSIGN_OR_RETURN(std::string packed, ReadAll(*files_, static_cast<size_t>(entry.packed_bytes)));
  files_offset_ += entry.packed_bytes;
  if (entry.method == kStored) {
    return Crc32(packed) == entry.crc32 ? std::move(packed) : std::string();
  }
  ASSIGN_OR_RETURN(std::optional<std::string> bytes,
                   Inflater().Inflate(packed, static_cast<size_t>(entry.unpacked_bytes)));
  if (!bytes || Crc32(*bytes) != entry.crc32) return std::string();
  return *std::move(bytes);
}

}  // namespace denoise
