// Reads tar archives. Internal to core/data.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/data/entry_name.h"
#include "core/data/tar_header.h"
#include "core/data/upload_reader.h"

namespace denoise {

class TarReader : public UploadReader {
 public:
  // `archive` is not compressed.
  TarReader(std::unique_ptr<ByteSource> archive, const UploadLimits& limits)
      : archive_(std::move(archive)), limits_(limits) {}

  absl::StatusOr<std::optional<UploadEntry>> Next() override;

 private:
  // The next header, completed by the extension headers before it. nullopt at the end.
  absl::StatusOr<std::optional<TarHeader>> NextHeader();
  // Reads an extension header about the next file. Returns false if `header` is not one.
  absl::StatusOr<bool> TakeExtension(const TarHeader& header);
  absl::StatusOr<std::optional<TarHeader>> ReadHeader();
  absl::Status ReadBlock(TarBlock& block);
  absl::StatusOr<std::string> ReadExtension(const TarHeader& header);

  absl::StatusOr<UploadEntry> TakeEntry(const TarHeader& header, EntryName name);
  std::string Problem(const TarHeader& header) const;
  absl::StatusOr<std::string> ReadData(int64_t bytes);
  absl::Status SkipData(const TarHeader& header);
  absl::Status CheckEnd();

  const std::unique_ptr<ByteSource> archive_;
  const UploadLimits limits_;
  std::optional<std::string> long_name_;  // of the next file, like records_
  PaxRecords records_;
  bool at_start_ = true;
  bool at_end_ = false;
};

}  // namespace denoise
