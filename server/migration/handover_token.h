// Handovers as callers carry them: states, sealed.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/migration/handover_state.h"
#include "server/migration/token_keys.h"

namespace denoise {

// How long what a server that drains has handed over can be continued.
inline constexpr absl::Duration kHandoverLifetime = absl::Minutes(10);

// A request that presents a handover has no other field: InvalidArgument names those that it has.
absl::Status CheckPresented(const denoised::v1::GenerateRequest& request);

std::string SealHandover(const HandoverState& state, std::string_view tenant, absl::Time expires,
                         const TokenKeys& keys);

// InvalidArgument names the field "handover": see OpenToken (sealed_token.h). FailedPrecondition
// has the reason HANDOVER_EXPIRED, or is ParseHandoverState's.
absl::StatusOr<HandoverState> OpenHandover(std::string_view token, std::string_view tenant,
                                           absl::Time now, const TokenKeys& keys);

}  // namespace denoise
