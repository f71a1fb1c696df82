// Who makes a request over HTTP.
#pragma once

#include "absl/status/statusor.h"
#include "server/http/connect_protocol.h"
#include "server/http/http_exchange.h"
#include "server/identity/access_control.h"

namespace denoise {

// What the request brings along to prove it.
Credentials CredentialsOf(const HttpExchange& exchange, const AccessControl& access);

// The metadata with which the server calls `method` of itself for the caller, as part of the
// request's trace. Errors are those of
// AccessControl::Admit; where credentials are missing or refused, the answer gets the header that
// says which are asked for.
absl::StatusOr<CallMetadata> AdmitCaller(const AccessControl& access, std::string_view method,
                                         HttpExchange& exchange);

// Adds that header.
void AskForCredentials(HttpExchange& exchange);

}  // namespace denoise
