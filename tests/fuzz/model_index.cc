#include "core/io/model_index.h"

#include "core/base/field_violations.h"
#include "tests/fuzz/fuzz_target.h"

namespace denoise {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<ModelIndex> index = ParseModelIndex(AsText(data, size));
  if (!index.ok()) {
    Require(absl::IsInvalidArgument(index.status()), "a bad index is INVALID_ARGUMENT");
    return 0;
  }
  Require(!index->unet_class.empty() && !index->scheduler_class.empty(), "both parts are there");
  constexpr int64_t kClasses = 3;
  const absl::Status labels = CheckLabels(*index, kClasses);
  Require(labels.ok() != !GetFieldViolations(labels).empty(), "labels in violation are named");
  for (const auto& [label, name] : index->id2label) {
    Require(!labels.ok() || (label >= 0 && label < kClasses), "labels are classes");
  }
  return 0;
}

}  // namespace denoise
