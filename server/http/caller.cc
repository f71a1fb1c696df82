#include "server/http/caller.h"

#include "core/base/status_macros.h"

namespace denoise {
Credentials CredentialsOf(const HttpExchange& exchange, const AccessControl& access) {
  Credentials credentials;
  credentials.certificate = exchange.certificate_name();
  credentials.authorization = exchange.JoinedHeader("Authorization");
  if (!access.tenant_header().empty()) {
    credentials.tenant = exchange.JoinedHeader(access.tenant_header());
  }
  return credentials;
}

absl::StatusOr<CallMetadata> AdmitCaller(const AccessControl& access, std::string_view method,
                                         HttpExchange& exchange) {
  const absl::StatusOr<Identity> caller = access.Admit(method, CredentialsOf(exchange, access));
  if (absl::IsUnauthenticated(caller.status())) AskForCredentials(exchange);
  RETURN_IF_ERROR(caller.status());
  return CallMetadata{{kSealedIdentityKey, access.Seal(*caller)},
                      {kTraceparentKey, TraceparentOf(exchange.trace())}};
}

void AskForCredentials(HttpExchange& exchange) {
  exchange.AddHeader("WWW-Authenticate", "Bearer realm=\"denoised\"");
}

}  // namespace denoise
