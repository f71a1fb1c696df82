// Who makes a call over gRPC.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_interceptor.h>

#include <memory>

#include "absl/status/statusor.h"
#include "server/identity/access_control.h"

namespace denoise {

// gRPC 1.51 does not tell a callback method its own name. This interceptor does, for IdentifyCaller.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MethodNames();

// Errors are those of AccessControl::Admit. Where `access` is null, everybody may do everything.
absl::StatusOr<Identity> IdentifyCaller(const AccessControl* access,
                                        const grpc::ServerContextBase& context);

}  // namespace denoise
