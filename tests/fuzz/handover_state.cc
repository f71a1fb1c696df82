#include "server/migration/handover_state.h"

#include <set>

#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "server/requests/field_checks.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/server/test_models.h"

namespace denoise {
namespace {

constexpr RequestLimits kLimits = {.max_steps = 50, .max_images = 8};

void RequireRefused(const absl::Status& status) {
  Require(absl::IsFailedPrecondition(status) && GetErrorReason(status) == "HANDOVER_UNSUITABLE",
          "a refusal has its reason");
}

void RequireFits(const GenerationRequest& generation) {
  std::set<int> images;
  const Continuation& done = generation.continues_from;
  for (const int index : done.images_done) images.insert(index);
  for (const ImageSnapshot& image : done.images_begun) {
    images.insert(image.image_index);
    Require(CheckSnapshot(image.trajectory, *generation.plan, generation.shape).ok(),
            "a snapshot suits its plan");
  }
  Require(images.size() == done.images_done.size() + done.images_begun.size(),
          "an image is named once");
  Require(images.empty() || (*images.begin() >= 0 && *images.rbegin() < generation.count),
          "an image is one of the request's");
}

}  // namespace

// What a token holds, opened: of a deployment's own servers, but perhaps of another release.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const ModelRepository models(TestModels());
  const auto state = ParseHandoverState(AsText(data, size));
  if (!state.ok()) {
    RequireRefused(state.status());
    return 0;
  }
  const denoised::v1::GenerateRequest request = RequestToResolve(*state);
  auto resolved = ResolveRequest(request, FindModel(request.model(), models), kLimits,
                                 state->accepted().seed());
  if (!resolved.ok()) return 0;  // as any request
  const absl::Status status = ContinueFrom(*state, *resolved);
  if (!status.ok()) {
    RequireRefused(status);
    return 0;
  }
  RequireFits(resolved->generation);
  return 0;
}

}  // namespace denoise
