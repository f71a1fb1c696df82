#include "core/image/image.h"
#include "tests/fuzz/fuzz_target.h"

namespace denoise {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<NpyArray> array = DecodeNpy(AsText(data, size));
  if (!array.ok()) {
    Require(absl::IsInvalidArgument(array.status()), "a bad array is INVALID_ARGUMENT");
    return 0;
  }
  int64_t count = 1;
  for (int64_t length : array->shape) count *= length;
  Require(count == static_cast<int64_t>(array->values.size()), "there are as many values as told");
  const absl::StatusOr<NpyArray> again = DecodeNpy(EncodeNpy(array->values, array->shape));
  Require(again.ok() && again->shape == array->shape, "what was read can be written");
  return 0;
}

}  // namespace denoise
