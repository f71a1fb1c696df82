// Who makes a call over gRPC.
#pragma once

#include <grpcpp/server_context.h>

#include "absl/status/statusor.h"
#include "server/identity/access_control.h"

namespace denoise {

// Errors are those of AccessControl::Admit. Where `access` is null, everybody may do everything. The
// call's record (call_record.h) says which method it is of.
absl::StatusOr<Identity> IdentifyCaller(const AccessControl* access,
                                        const grpc::ServerContextBase& context);

}  // namespace denoise
