// The blocks that a tar archive is made of: POSIX.1-2017, "pax Interchange Format", and what GNU tar
// adds to it.
//
// Parsed here and not by a library: the readers at hand keep whatever an archive tells them to (maps
// of sparse files, for one), and so need memory without bound.
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

// What follows a header, and what for.
enum class TarType {
  kFile,
  kFolder,
  kLink,         // symbolic or hard; without data
  kDevice,       // or pipe; without data
  kGnuSparse,    // a file with holes, as old GNU tar writes it
  kGnuLongName,  // the data is the name of the next file
  kGnuLongLink,  // the data is where the next link points
  kPaxRecords,   // the data is records about the next file
  kPaxDefaults,  // about all files that follow
  kOther,
};

struct TarHeader {
  std::string name;
  TarType type = TarType::kOther;
  int64_t data_bytes = 0;    // that follow, padded to whole blocks
  bool map_follows = false;  // kGnuSparse: blocks of its map lie between header and data
};

// nullopt: a block of zeros, which ends the archive. InvalidArgument: not a header, by its checksum,
// or a size that no file has.
absl::StatusOr<std::optional<TarHeader>> ParseTarHeader(const TarBlock& block);

// Whether this block of the map of an old GNU sparse file is not its last.
bool MapGoesOn(const TarBlock& block);

// What pax records say of the next file, as far as it matters here.
struct PaxRecords {
  std::optional<std::string> path;
  std::optional<int64_t> size;
  bool sparse = false;  // one of GNU tar's formats 0.0, 0.1 and 1.0
};

// InvalidArgument: malformed.
absl::StatusOr<PaxRecords> ParsePaxRecords(std::string_view text);

// A header of a plain file of `size` bytes that everybody reads, with the name in a pax header
// before it where it has more than 100 bytes. The same arguments give the same bytes.
std::string MakeTarHeader(std::string_view name, int64_t size);

// The zeros that fill up the last block of `size` bytes.
int64_t TarPadding(int64_t size);

}  // namespace denoise
