#include "server/http/caller.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

// The values of a header, as HTTP joins them: one that is given twice is not valid.
std::string ValueOf(const HttpExchange& exchange, std::string_view name) {
  std::string joined;
  const auto [begin, end] = exchange.head().equal_range({name.data(), name.size()});
  for (auto field = begin; field != end; ++field) {
    absl::StrAppend(&joined, field == begin ? "" : ",",
                    absl::string_view(field->value().data(), field->value().size()));
  }
  return joined;
}

}  // namespace

Credentials CredentialsOf(const HttpExchange& exchange, const AccessControl& access) {
  Credentials credentials;
  credentials.certificate = exchange.certificate_name();
  credentials.authorization = ValueOf(exchange, "Authorization");
  if (!access.tenant_header().empty()) {
    credentials.tenant = ValueOf(exchange, access.tenant_header());
  }
  return credentials;
}

absl::StatusOr<CallMetadata> AdmitCaller(const AccessControl& access, std::string_view method,
                                         HttpExchange& exchange) {
  const absl::StatusOr<Identity> caller = access.Admit(method, CredentialsOf(exchange, access));
  if (absl::IsUnauthenticated(caller.status())) AskForCredentials(exchange);
  RETURN_IF_ERROR(caller.status());
  return CallMetadata{{kSealedIdentityKey, access.Seal(*caller)}};
}

void AskForCredentials(HttpExchange& exchange) {
  exchange.AddHeader("WWW-Authenticate", "Bearer realm=\"denoised\"");
}

}  // namespace denoise
