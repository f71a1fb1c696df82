// The answer to bytes that are not a message of the method's type.
//
// gRPC 1.51's callback API never calls the method then. It ends the call as UNIMPLEMENTED, without
// a message and without a word to the server, as if there were no such method.
#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <memory>
#include <string>
#include <vector>

#include "server/identity/access_control.h"

namespace denoise {

// Makes those calls INVALID_ARGUMENT, with a message, a request id and a line in the log, unless the
// caller may not make them at all (caller_identity.h). `services` are those that the server has, by
// full name; methods that there are not stay UNIMPLEMENTED.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MalformedRequests(
    const std::vector<std::string>& services, const AccessControl* access);

}  // namespace denoise
