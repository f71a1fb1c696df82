#include "core/data/tar_reader.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

// Names have at most 1024 bytes, but records may hold other things.
constexpr int64_t kMaxExtensionBytes = int64_t{1} << 20;

// One of each kind, and a few more.
constexpr int kMaxExtensions = 16;

absl::Status CutShort() { return absl::InvalidArgumentError("the archive is cut short"); }

}  // namespace

absl::StatusOr<std::optional<UploadEntry>> TarReader::Next() {
  while (!at_end_) {
    ASSIGN_OR_RETURN(const std::optional<TarHeader> header, NextHeader());
    if (!header) {
      RETURN_IF_ERROR(CheckEnd());
      break;
    }
    ASSIGN_OR_RETURN(EntryName name, ParseEntryName(header->name));
    if (header->type == TarType::kFolder || name.hidden) {
      RETURN_IF_ERROR(SkipData(*header));
      continue;
    }
    ASSIGN_OR_RETURN(UploadEntry entry, TakeEntry(*header, std::move(name)));
    return entry;
  }
  return std::nullopt;
}

absl::StatusOr<std::optional<TarHeader>> TarReader::NextHeader() {
  long_name_.reset();
  records_ = {};
  for (int extensions = 0; extensions <= kMaxExtensions; ++extensions) {
    ASSIGN_OR_RETURN(std::optional<TarHeader> header, ReadHeader());
    if (!header) return std::nullopt;
    ASSIGN_OR_RETURN(const bool is_extension, TakeExtension(*header));
    if (is_extension) continue;
    if (long_name_) header->name = *std::move(long_name_);
    if (records_.path) header->name = *std::move(records_.path);
    if (records_.size && header->type == TarType::kFile) header->data_bytes = *records_.size;
    if (records_.sparse && header->type == TarType::kFile) header->type = TarType::kGnuSparse;
    // The oldest archives mark folders by a slash at the end of the name. A name that is cut off
    // after a slash, with the whole of it in a header before, is that of a file.
    if (header->type == TarType::kFile && header->name.ends_with('/')) {
      header->type = TarType::kFolder;
      header->data_bytes = 0;
    }
    return header;
  }
  return absl::InvalidArgumentError("an entry of the archive has too many headers");
}

absl::StatusOr<bool> TarReader::TakeExtension(const TarHeader& header) {
  switch (header.type) {
    case TarType::kGnuLongName: {
      ASSIGN_OR_RETURN(const std::string name, ReadExtension(header));
      long_name_ = name.substr(0, name.find('\0'));
      return true;
    }
    case TarType::kPaxRecords: {
      ASSIGN_OR_RETURN(const std::string text, ReadExtension(header));
      ASSIGN_OR_RETURN(records_, ParsePaxRecords(text));
      return true;
    }
    case TarType::kGnuLongLink:
    case TarType::kPaxDefaults:  // these cannot give a file its name or size
      RETURN_IF_ERROR(ReadExtension(header).status());
      return true;
    default:
      return false;
  }
}

absl::StatusOr<std::optional<TarHeader>> TarReader::ReadHeader() {
  TarBlock block;
  RETURN_IF_ERROR(ReadBlock(block));
  absl::StatusOr<std::optional<TarHeader>> header = ParseTarHeader(block);
  const bool is_first = std::exchange(at_start_, false);
  if (is_first && !header.ok()) {
    return absl::InvalidArgumentError(
        "it is not a tar archive, plain or packed with gzip, xz or zstd, and not a zip archive");
  }
  return header;
}

absl::Status TarReader::ReadBlock(TarBlock& block) {
  ASSIGN_OR_RETURN(const size_t size, ReadFully(*archive_, block));
  return size == block.size() ? absl::OkStatus() : CutShort();
}

absl::StatusOr<std::string> TarReader::ReadExtension(const TarHeader& header) {
  if (header.data_bytes > kMaxExtensionBytes) {
    return absl::InvalidArgumentError("a name or a pax header of the archive is too long");
  }
  return ReadData(header.data_bytes);
}

absl::StatusOr<UploadEntry> TarReader::TakeEntry(const TarHeader& header, EntryName name) {
  UploadEntry entry = {std::move(name.folder), std::move(name.file), "", std::move(name.problem)};
  if (entry.file.empty()) entry.problem = "it has no name";
  if (entry.problem.empty()) entry.problem = Problem(header);
  if (!entry.problem.empty()) {
    RETURN_IF_ERROR(SkipData(header));
    return entry;
  }
  ASSIGN_OR_RETURN(entry.bytes, ReadData(header.data_bytes));
  return entry;
}

std::string TarReader::Problem(const TarHeader& header) const {
  switch (header.type) {
    case TarType::kFile:
      break;
    case TarType::kLink:
      return "a link, which is not followed";
    case TarType::kGnuSparse:
      return "a sparse file, which is not read";
    default:
      return "not a plain file";
  }
  if (header.data_bytes == 0) return "the file is empty";
  if (header.data_bytes > limits_.max_file_bytes) {
    return absl::StrCat("the file has ", header.data_bytes, " bytes; at most ",
                        limits_.max_file_bytes, " are read");
  }
  return "";
}

absl::StatusOr<std::string> TarReader::ReadData(int64_t bytes) {
  ASSIGN_OR_RETURN(std::string data, ReadString(*archive_, static_cast<size_t>(bytes)));
  const int64_t padding = TarPadding(bytes);
  ASSIGN_OR_RETURN(const int64_t skipped, Skip(*archive_, padding));
  if (static_cast<int64_t>(data.size()) < bytes || skipped < padding) return CutShort();
  return data;
}

absl::Status TarReader::SkipData(const TarHeader& header) {
  if (header.map_follows) {
    TarBlock block;
    do RETURN_IF_ERROR(ReadBlock(block));
    while (SparseMapContinues(block));
  }
  const int64_t bytes = header.data_bytes + TarPadding(header.data_bytes);
  ASSIGN_OR_RETURN(const int64_t skipped, Skip(*archive_, bytes));
  return skipped == bytes ? absl::OkStatus() : CutShort();
}

// Only zeros may follow the block of zeros; a second archive would be ignored silently. Reading to
// the end also makes the decoder verify the checksum of a compressed archive.
absl::Status TarReader::CheckEnd() {
  at_end_ = true;
  std::array<char, 4096> piece;
  for (;;) {
    ASSIGN_OR_RETURN(const size_t size, archive_->Read(piece));
    if (size == 0) return absl::OkStatus();
    const auto end = piece.begin() + static_cast<ptrdiff_t>(size);
    if (std::any_of(piece.begin(), end, [](char c) { return c != '\0'; })) {
      return absl::InvalidArgumentError("something follows the end of the archive");
    }
  }
}

}  // namespace denoise
