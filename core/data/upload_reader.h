// Reads an upload file by file, in any of its formats.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/data/byte_source.h"

namespace denoise {

// Limits on an upload. Files over a limit for one file are skipped and reported; uploads over any
// other limit are refused.
struct UploadLimits {
  int64_t max_unpacked_bytes = int64_t{64} << 30;  // in total, after decompression
  int64_t max_pictures = 10'000'000;
  int64_t max_total_pixels = int64_t{1} << 40;  // of all pictures; bounds the time to decode them
  int64_t max_classes = 10'000;
  int64_t max_folders = 50'000;

  int64_t max_file_bytes = int64_t{64} << 20;  // of one file
  int64_t max_pixels = int64_t{16} << 20;      // of one picture, according to its header
};

enum class UploadFormat { kTar, kCifar10, kMnist };

// A file that may be a picture. Formats without files name their pictures as if they were in one
// folder per class. Names are valid UTF-8 without control characters.
struct UploadEntry {
  std::string folder;   // "train/cats"; empty: none
  std::string file;     // "1.png"
  std::string bytes;    // its content; empty if there is a problem
  std::string problem;  // why it cannot be a picture, for people; usually empty

  std::string name() const { return folder.empty() ? file : folder + "/" + file; }
};

// Not thread-safe. Must not be used after an error.
class UploadReader {
 public:
  virtual ~UploadReader() = default;

  // The next file; nullopt at the end. InvalidArgument: the whole upload is refused. Other errors
  // are those of the source.
  virtual absl::StatusOr<std::optional<UploadEntry>> Next() = 0;
};

// Opens an upload, compressed or not. `upload` is called up to four times before this returns.
//
// kTar       POSIX ustar and pax, GNU and older tar; or a zip archive. docs/datasets.md describes
// how unusual names and entries that are not plain files are treated. kCifar10   records of the
// binary version of CIFAR-10: "frog/00017.png". kMnist     IDX pictures (0x803), followed by labels
// (0x801): "7/00017.png"; or by nothing: "00017.png".
absl::StatusOr<std::unique_ptr<UploadReader>> OpenUpload(UploadFormat format,
                                                         const OpenBytes& upload,
                                                         const UploadLimits& limits);

}  // namespace denoise
