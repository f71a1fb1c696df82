// Signed tokens of an identity provider (JWT, RFC 7519), as RFC 8725 asks to check them.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/identity/identity.h"
#include "server/identity/json_web_keys.h"

namespace denoise {

struct JwtRules {
  std::string issuer;                         // "iss" must be this
  std::string audience;                       // "aud" must be or contain this
  absl::Duration leeway = absl::Seconds(30);  // for clocks that differ
};

// Whom the token is about: the tenant is its claim "tenant", or else "sub", and the scopes are those
// of its claim "scope" that we know. DeadlineExceeded: it was valid until it expired.
// InvalidArgument, without a reason: it is not valid.
absl::StatusOr<Identity> ReadJsonWebToken(std::string_view token, const JsonWebKeys& keys,
                                          const JwtRules& rules, absl::Time now);

}  // namespace denoise
