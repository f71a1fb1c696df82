#include "core/io/safetensors_header.h"
#include "tests/fuzz/fuzz_target.h"

namespace denoise {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<SafetensorsHeader> header = ParseSafetensorsHeader(AsText(data, size));
  if (!header.ok()) {
    Require(absl::IsInvalidArgument(header.status()), "a bad file is INVALID_ARGUMENT");
    return 0;
  }
  Require(header->data_offset <= size, "the data begins within the file");
  size_t total = 0;
  for (const auto& [name, entry] : header->tensors) {
    Require(entry.begin <= entry.end && entry.end <= size - header->data_offset,
            "every tensor lies within the data");
    total += entry.end - entry.begin;
  }
  Require(total == size - header->data_offset, "every byte belongs to one tensor");
  return 0;
}

}  // namespace denoise
