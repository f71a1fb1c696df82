#include "core/base/field_violations.h"
#include "server/requests/field_checks.h"
#include "server/requests/request_validation.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/server/test_models.h"

namespace denoise {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const ModelRepository models(TestModels());
  constexpr RequestLimits kLimits = {.max_steps = 50, .max_images = 8};
  denoised::v1::GenerateRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;  // gRPC refuses it

  const absl::StatusOr<ResolvedRequest> resolved =
      ResolveRequest(request, FindModel(request.model(), models), kLimits, 1);
  if (!resolved.ok()) {
    Require(absl::IsNotFound(resolved.status()) || !GetFieldViolations(resolved.status()).empty(),
            "a refusal names its field, or there is no such model");
    return 0;
  }
  const GenerationRequest& generation = resolved->generation;
  Require(generation.count >= 1 && generation.count <= kLimits.max_images, "count is in range");
  Require(generation.plan->NumSteps() >= 1 && generation.plan->NumSteps() <= kLimits.max_steps,
          "steps are in range");
  Require(resolved->frame_bytes_max > 0, "frames have room");
  Require(resolved->accepted.evaluations() == resolved->accepted.timesteps_size(),
          "there is a timestep for every evaluation");
  return 0;
}

}  // namespace denoise
