#include "server/identity/access_control.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "server/identity/method_scopes.h"
#include "server/identity/random_bytes.h"

namespace denoise {
namespace {

constexpr size_t kSecretBytes = 32;
constexpr std::string_view kBearer = "Bearer ";

absl::Status Missing() {
  return WithErrorReason(
      absl::UnauthenticatedError(
          "this server asks for credentials: send a token as \"authorization: Bearer TOKEN\""),
      "CREDENTIALS_MISSING");
}

absl::Status NotValid() {
  return WithErrorReason(absl::UnauthenticatedError("the credentials are not valid"),
                         "CREDENTIALS_NOT_VALID");
}

absl::Status Expired() {
  return WithErrorReason(absl::UnauthenticatedError("the token has expired; get a new one"),
                         "CREDENTIALS_EXPIRED");
}

// The token of "Bearer TOKEN"; empty where it is something else. The scheme has no case.
std::string_view TokenIn(std::string_view authorization) {
  const std::string_view scheme = authorization.substr(0, kBearer.size());
  if (!absl::EqualsIgnoreCase({scheme.data(), scheme.size()}, {kBearer.data(), kBearer.size()})) {
    return "";
  }
  return authorization.substr(kBearer.size());
}

}  // namespace

AccessControl::AccessControl(const Options& options)
    : options_(options),
      secret_(RandomBytes(kSecretBytes)),
      tokens_("--tokens", options.tokens, TokenFile::Parse),
      keys_("--jwt-jwks", options.jwks, JsonWebKeys::Parse) {}

absl::StatusOr<std::unique_ptr<AccessControl>> AccessControl::Open(const Options& options,
                                                                   FileWatch& watch) {
  std::unique_ptr<AccessControl> access(new AccessControl(options));
  RETURN_IF_ERROR(access->tokens_.Open(watch));
  RETURN_IF_ERROR(access->keys_.Open(watch));
  return access;
}

absl::StatusOr<Identity> AccessControl::Identify(const Credentials& credentials) const {
  if (!credentials.sealed.empty()) return Unseal(credentials.sealed);
  if (!asks_for_credentials()) return IdentifyByHeader(credentials.tenant);
  if (!credentials.authorization.empty()) return IdentifyBearer(credentials.authorization);
  return IdentifyByCertificate(credentials.certificate);
}

absl::StatusOr<Identity> AccessControl::IdentifyByCertificate(const std::string& name) const {
  if (!options_.client_certificates || name.empty()) return Missing();
  return IsValidTenant(name) ? IdentityWith(name, options_.certificate_scopes)
                             : absl::StatusOr<Identity>(NotValid());
}

absl::StatusOr<Identity> AccessControl::IdentifyByHeader(const std::string& tenant) const {
  if (options_.tenant_header.empty()) return Anyone();
  if (tenant.empty() || IsValidTenant(tenant)) {
    Identity identity = Anyone();
    identity.tenant = tenant;
    identity.sees_all = false;
    if (!tenant.empty()) identity.scopes = {Scope::kGenerate, Scope::kTrain};
    return identity;
  }
  return InvalidField(options_.tenant_header, absl::StrCat(kTenantRule, ", is ", Quoted(tenant)));
}

absl::StatusOr<Identity> AccessControl::IdentifyBearer(std::string_view authorization) const {
  const std::string_view token = TokenIn(authorization);
  return LooksLikeToken(token) ? IdentifyByToken(token) : IdentifyByJwt(token);
}

absl::StatusOr<Identity> AccessControl::IdentifyByToken(std::string_view token) const {
  const std::shared_ptr<const TokenFile> tokens = tokens_.value();
  const TokenEntry* const entry = tokens ? tokens->Find(token) : nullptr;
  if (entry == nullptr) return NotValid();
  if (entry->expires && *entry->expires <= options_.clock->Now()) return Expired();
  return IdentityWith(entry->tenant, entry->scopes);
}

absl::StatusOr<Identity> AccessControl::IdentifyByJwt(std::string_view token) const {
  const std::shared_ptr<const JsonWebKeys> keys = keys_.value();
  if (!keys) return NotValid();
  const auto identity = ReadJsonWebToken(token, *keys, options_.jwt, options_.clock->Now());
  if (absl::IsDeadlineExceeded(identity.status())) return Expired();
  return identity.ok() ? identity : NotValid();
}

absl::StatusOr<Identity> AccessControl::Admit(std::string_view method,
                                              const Credentials& credentials) const {
  ASSIGN_OR_RETURN(Identity caller, Identify(credentials));
  const std::optional<Scope> scope = ScopeOf(method);
  RETURN_IF_ERROR(Require(caller, scope.value_or(Scope::kAdmin), method));
  return caller;
}

absl::Status AccessControl::Require(const Identity& caller, Scope scope, std::string_view subject) {
  if (caller.scopes.Has(scope)) return absl::OkStatus();
  const std::string name(NameOf(scope));
  return WithErrorReason(
      absl::PermissionDeniedError(absl::StrCat(std::string(subject), " needs the scope \"", name,
                                               "\", which these credentials do not have")),
      "SCOPE_MISSING");
}

// The secret, the scopes, whether it sees all, and the tenant.
std::string AccessControl::Seal(const Identity& identity) const {
  std::string sealed = secret_;
  for (const Scope scope : kScopes) {
    const auto scopes = identity.scopes.list();
    sealed += std::find(scopes.begin(), scopes.end(), scope) == scopes.end() ? '0' : '1';
  }
  sealed += identity.sees_all ? '1' : '0';
  return sealed.append(identity.tenant);
}

absl::StatusOr<Identity> AccessControl::Unseal(std::string_view sealed) const {
  const size_t tenant = secret_.size() + std::size(kScopes) + 1;
  if (sealed.size() < tenant || CRYPTO_memcmp(sealed.data(), secret_.data(), secret_.size()) != 0) {
    return NotValid();
  }
  Identity identity;
  std::string_view flags = sealed.substr(secret_.size(), tenant - secret_.size());
  for (size_t i = 0; i < std::size(kScopes); ++i) {
    if (flags[i] == '1') identity.scopes.Add(kScopes[i]);
  }
  identity.sees_all = flags.back() == '1';
  identity.tenant = sealed.substr(tenant);
  return identity;
}

}  // namespace denoise
