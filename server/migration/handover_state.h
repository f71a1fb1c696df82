// What a server hands over of a generation that it cannot finish: from what the engine has to a
// message, and from a message to a request that the engine continues.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/sampling/samplers/plan.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/engine/generation.h"
#include "server/migration/handover_state.pb.h"
#include "server/requests/request_validation.h"

namespace denoise {

// `request` is the caller's, and `accepted` and `plan` are what the server made of it.
HandoverState MakeHandoverState(const denoised::v1::GenerateRequest& request,
                                const denoised::v1::Accepted& accepted, const SamplerPlan& plan,
                                const Continuation& done, int64_t next_sequence,
                                const std::string& trace_id = "");

// The state in the content of a token. FailedPrecondition if this server cannot read it.
absl::StatusOr<HandoverState> ParseHandoverState(std::string_view content);

// How far the generation is: evaluations of single images that need not be made again.
int64_t EvaluationsDone(const HandoverState& state);

// The request of `state` such that it resolves to the same here, wherever the model is the same.
denoised::v1::GenerateRequest RequestToResolve(const HandoverState& state);

// Makes `resolved`, which RequestToResolve(state) resolves to here with state.accepted().seed(),
// continue where the other server stopped. FailedPrecondition, with the reason HANDOVER_UNSUITABLE,
// if the model, an adapter or the plan is another one here, or the images do not suit them.
absl::Status ContinueFrom(const HandoverState& state, ResolvedRequest& resolved);

}  // namespace denoise
