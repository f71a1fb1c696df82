#include "core/json/strict_json.h"

#include "tests/fuzz/fuzz_target.h"

namespace denoise {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (const bool non_finite_numbers : {false, true}) {
    const JsonOptions options = {.non_finite_numbers = non_finite_numbers};
    const absl::StatusOr<nlohmann::json> json = ParseStrictJson(AsText(data, size), options);
    if (!json.ok()) {
      Require(absl::IsInvalidArgument(json.status()), "bad JSON is INVALID_ARGUMENT");
      continue;
    }
    if (non_finite_numbers) continue;  // JSON cannot write them
    const absl::StatusOr<nlohmann::json> again = ParseStrictJson(json->dump());
    Require(again.ok() && *again == *json, "what was read is written and read as the same");
  }
  return 0;
}

}  // namespace denoise
