// The safetensors format: named tensors in one file.
// https://github.com/huggingface/safetensors
//
//     8 bytes   the size of the header, little-endian
//     header    JSON: {"name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [begin, end]},
//               ..., "__metadata__": {"key": "text"}}; offsets count from the header's end
//     data      little-endian, row-major; each byte belongs to exactly one tensor
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

struct SafetensorsHeader {
  struct Entry {
    std::string dtype;           // one of the format's names
    std::vector<int64_t> shape;  // its product fits 63 bits, even without the zeros
    size_t begin = 0;            // bytes into the data
    size_t end = 0;              // begin + product of shape * size of dtype
  };

  std::map<std::string, Entry> tensors;
  std::map<std::string, std::string> metadata;
  size_t data_offset = 0;  // where the data begins in the file
};

// How many bytes of a file of `file_size` bytes the header takes, with its size. `beginning` has
// the first 8 of them. 0: no header begins so.
size_t SafetensorsHeaderEnd(std::string_view beginning, size_t file_size);

// `beginning` is that of a file of `file_size` bytes: all of it, or at least the header. It is
// hostile. InvalidArgument names the tensor or key that breaks a rule
// of the format: header size beyond 100 MB or the file, anything but a JSON object, duplicate keys,
// unknown dtypes, sizes that overflow or contradict the offsets, overlaps, holes, or data that
// belongs to no tensor. For a file of another kind, the error names that kind (foreign_file.h).
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view beginning,
                                                         size_t file_size);
// The same, of a whole file.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view file);

}  // namespace denoise
