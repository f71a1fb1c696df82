#include "server/jobs/store/state_manifest.h"

#include "tests/fuzz/fuzz_target.h"

namespace denoise {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<StateManifest> manifest = DecodeStateManifest(AsText(data, size));
  if (!manifest.ok()) {
    Require(absl::IsInvalidArgument(manifest.status()), "a bad manifest is INVALID_ARGUMENT");
    return 0;
  }
  const absl::StatusOr<StateManifest> again = DecodeStateManifest(EncodeStateManifest(*manifest));
  Require(again.ok(), "what was read can be written");
  Require(again->name == manifest->name && again->kind == manifest->kind &&
              again->resource == manifest->resource && again->stored == manifest->stored &&
              again->create_time == manifest->create_time,
          "and read again");
  return 0;
}

}  // namespace denoise
