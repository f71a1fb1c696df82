// Reads zip archives (PKWARE APPNOTE 6.3.10), with zip64. Internal to core/data.
//
// Parsed here, over zlib, for the reason that tar is: libraries keep an archive's whole list of
// files in memory, however long it claims to be. The list at the end of the archive is read piece
// by piece from one source, and the files from another, in the order of the list. Their places must
// increase, so that no byte of the archive is unpacked twice.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "core/data/entry_name.h"
#include "core/data/upload_reader.h"
#include "core/data/zip_records.h"

namespace denoise {

class ZipReader : public UploadReader {
 public:
  // Reads all of the archive once to find its end. InvalidArgument: it has no list of files.
  static absl::StatusOr<std::unique_ptr<ZipReader>> Open(const OpenBytes& archive,
                                                         const UploadLimits& limits);

  absl::StatusOr<std::optional<UploadEntry>> Next() override;

 private:
  ZipReader(std::unique_ptr<ByteSource> list, std::unique_ptr<ByteSource> files, const ZipEnd& end,
            const UploadLimits& limits)
      : list_(std::move(list)), files_(std::move(files)), end_(end), limits_(limits) {}

  absl::StatusOr<ZipEntry> ReadEntry();
  absl::StatusOr<UploadEntry> TakeEntry(const ZipEntry& entry, EntryName name);
  std::string Problem(const ZipEntry& entry);
  // Moves to the first byte of the entry's data.
  absl::Status SeekData(const ZipEntry& entry);
  absl::StatusOr<std::string> ReadData(const ZipEntry& entry);

  const std::unique_ptr<ByteSource> list_;
  const std::unique_ptr<ByteSource> files_;
  const ZipEnd end_;
  const UploadLimits limits_;
  uint64_t entries_read_ = 0;
  int64_t list_offset_ = 0;   // of the next entry, within the list
  int64_t files_offset_ = 0;  // of files_
  int64_t files_end_ = 0;     // of the entry before this one
  int64_t unpacked_bytes_ = 0;
  std::set<uint64_t> names_;  // hashes of those that were taken
};

// Whether an upload that begins so is a zip archive.
bool LooksLikeZip(std::string_view start);

}  // namespace denoise
