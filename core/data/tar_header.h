// The headers of tar archives: POSIX.1-2017, "pax Interchange Format", with the extensions of GNU
// tar.
//
// Parsed here because the available libraries store whatever an archive tells them to (maps of
// sparse files, for example), in unbounded memory.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace denoise {

inline constexpr int64_t kTarBlockBytes = 512;
using TarBlock = std::array<char, kTarBlockBytes>;

// What kind of entry a header describes.
enum class TarType {
  kFile,
  kFolder,
  kLink,         // symbolic or hard; without data
  kDevice,       // or pipe; without data
  kGnuSparse,    // a file with holes, in old GNU tar's format
  kGnuLongName,  // the data is the name of the next file
  kGnuLongLink,  // the data is the target of the next link
  kPaxRecords,   // the data is records about the next file
  kPaxDefaults,  // the data is records about all following files
  kOther,
};

struct TarHeader {
  std::string name;
  TarType type = TarType::kOther;
  int64_t data_bytes = 0;    // that follow, before padding to whole blocks
  bool map_follows = false;  // kGnuSparse: blocks of its map come between header and data
};

// nullopt: a block of zeros, which ends the archive. InvalidArgument: the checksum is wrong, or the
// size is impossible.
absl::StatusOr<std::optional<TarHeader>> ParseTarHeader(const TarBlock& block);

// Whether another block of an old GNU sparse file's map follows this one.
bool SparseMapContinues(const TarBlock& block);

// The pax records that matter here, about the next file.
struct PaxRecords {
  std::optional<std::string> path;
  std::optional<int64_t> size;
  bool sparse = false;  // in one of GNU tar's formats 0.0, 0.1 and 1.0
};

// InvalidArgument: malformed.
absl::StatusOr<PaxRecords> ParsePaxRecords(std::string_view text);

// A portable header for a plain file of `size` bytes, preceded by a pax header if the name has more
// than 100 bytes. The same arguments give the same bytes.
std::string MakeTarHeader(std::string_view name, int64_t size);

// The number of zeros that pad `size` bytes to whole blocks.
int64_t TarPadding(int64_t size);

}  // namespace denoise
