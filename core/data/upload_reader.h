// What an upload holds, file by file, whatever format it came in.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/data/byte_source.h"

namespace denoise {

// The most that is made of an upload. What is over a limit of one file is left out and reported; an
// upload that is over one of the others is refused.
struct UploadLimits {
  int64_t max_unpacked_bytes = int64_t{64} << 30;  // of all, once compression is taken off
  int64_t max_pictures = 10'000'000;
  int64_t max_total_pixels = int64_t{1} << 40;  // of all pictures, for the time that takes
  int64_t max_classes = 10'000;
  int64_t max_folders = 50'000;

  int64_t max_file_bytes = int64_t{64} << 20;  // of one file
  int64_t max_pixels = int64_t{16} << 20;      // of one picture, by its header
};

enum class UploadFormat { kTar, kCifar10, kMnist };

// A file that may be a picture. Pictures without files get names as though they lay in folders of
// their classes. Names are valid UTF-8 without control characters.
struct UploadEntry {
  std::string folder;   // "train/cats"; empty: none
  std::string file;     // "1.png"
  std::string bytes;    // what is in it; empty where there is a problem
  std::string problem;  // why it is no picture, for people; empty: see its bytes

  std::string name() const { return folder.empty() ? file : folder + "/" + file; }
};

// Not thread-safe. After an error the reader is of no more use.
class UploadReader {
 public:
  virtual ~UploadReader() = default;

  // The next file; nullopt at the end. InvalidArgument: the whole upload is refused. Other codes
  // come from the source.
  virtual absl::StatusOr<std::optional<UploadEntry>> Next() = 0;
};

// Compression is taken off. `upload` is called within, once or twice.
//
// kTar       POSIX ustar and pax, GNU and older tar. docs/datasets.md says what becomes of entries
//            that are no plain files, and of odd names.
// kCifar10   records of the binary version of CIFAR-10: "frog/00017.png".
// kMnist     IDX pictures (0x803) and behind them labels (0x801), "7/00017.png", or nothing,
//            "00017.png".
absl::StatusOr<std::unique_ptr<UploadReader>> OpenUpload(UploadFormat format,
                                                         const OpenBytes& upload,
                                                         const UploadLimits& limits);

}  // namespace denoise
