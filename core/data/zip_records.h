// The records of zip archives. Pure functions of bytes that may be anything. Internal to core/data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace denoise {

// Where the list of files is.
struct ZipEnd {
  uint64_t entries = 0;
  int64_t list_offset = 0;  // from the archive's first byte
  int64_t list_bytes = 0;
  int64_t shift = 0;  // what lies before the archive's first file, and offsets do not count
};

// The end of an archive of `archive_bytes` bytes ends in this many bytes at most: its record, a
// comment, and those of zip64.
inline constexpr size_t kMaxZipEndBytes = 22 + 65535 + 20 + 56;
// Finds the end in the last bytes of an archive. InvalidArgument: there is none.
absl::StatusOr<ZipEnd> ParseZipEnd(std::string_view tail, int64_t archive_bytes);

// An entry of the list.
struct ZipEntry {
  std::string name;  // as people see it: with slashes, UTF-8 unless the archive is wrong about it
  uint16_t method = 0;
  bool encrypted = false;
  bool is_link = false;
  uint32_t crc32 = 0;
  int64_t packed_bytes = 0;
  int64_t unpacked_bytes = 0;
  int64_t offset = 0;  // of its header before the data
};

inline constexpr size_t kZipEntryBytes = 46;   // before its name, extra fields and comment
inline constexpr size_t kZipHeaderBytes = 30;  // of a file, before its name and extra fields
// The bytes that follow those of `fixed`, the first kZipEntryBytes of an entry. InvalidArgument:
// that is no entry.
absl::StatusOr<size_t> ZipEntryVariableBytes(std::string_view fixed);
// `variable` is what follows `fixed`. InvalidArgument: its sizes are impossible.
absl::StatusOr<ZipEntry> ParseZipEntry(std::string_view fixed, std::string_view variable);

// The bytes between a file's header, of which `fixed` are the first kZipHeaderBytes, and its data.
// InvalidArgument: that is no header.
absl::StatusOr<size_t> ZipHeaderVariableBytes(std::string_view fixed);

}  // namespace denoise
