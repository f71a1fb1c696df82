#include "server/identity/json_web_token.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "core/base/status_macros.h"
#include "core/json/strict_json.h"
#include "server/identity/base64url.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxTokenBytes = 8192;
constexpr JsonOptions kJsonLimits = {
    .max_bytes = kMaxTokenBytes, .max_depth = 8, .max_values = 512};

absl::Status NotValid() { return absl::InvalidArgumentError("the token is not valid"); }

// The three parts of "header.claims.signature", and what is signed.
struct Parts {
  std::string_view header, claims, signature, signed_text;
};

std::optional<Parts> Split(std::string_view token) {
  if (token.size() > kMaxTokenBytes || std::count(token.begin(), token.end(), '.') != 2) {
    return std::nullopt;
  }
  const size_t first = token.find('.'), second = token.rfind('.');
  return Parts{.header = token.substr(0, first),
               .claims = token.substr(first + 1, second - first - 1),
               .signature = token.substr(second + 1),
               .signed_text = token.substr(0, second)};
}

absl::StatusOr<Json> DecodeObject(std::string_view part) {
  const std::optional<std::string> text = DecodeBase64Url(part);
  if (!text) return NotValid();
  return ParseStrictJsonObject(*text, kJsonLimits);
}

// nullopt where it is absent. Anything but a string is not valid.
absl::StatusOr<std::optional<std::string>> TextIn(const Json& object, const char* member) {
  const auto found = object.find(member);
  if (found == object.end()) return std::nullopt;
  if (!found->is_string()) return NotValid();
  return found->get<std::string>();
}

absl::StatusOr<std::optional<absl::Time>> TimeIn(const Json& claims, const char* member) {
  const auto found = claims.find(member);
  if (found == claims.end()) return std::nullopt;
  if (!found->is_number()) return NotValid();
  const double seconds = found->get<double>();
  if (!std::isfinite(seconds)) return NotValid();
  return absl::UnixEpoch() + absl::Seconds(seconds);
}

// RFC 8725, section 3.11: a token of another kind must not pass for one of these.
bool IsAccessToken(const std::optional<std::string>& type) {
  if (!type) return true;
  const std::string lower = absl::AsciiStrToLower(*type);
  return lower == "jwt" || lower == "at+jwt" || lower == "application/at+jwt";
}

absl::Status CheckSignature(const Parts& parts, const JsonWebKeys& keys) {
  ASSIGN_OR_RETURN(const Json header, DecodeObject(parts.header));
  ASSIGN_OR_RETURN(const auto type, TextIn(header, "typ"));
  ASSIGN_OR_RETURN(const auto id, TextIn(header, "kid"));
  ASSIGN_OR_RETURN(const auto algorithm, TextIn(header, "alg"));
  const std::optional<std::string> signature = DecodeBase64Url(parts.signature);
  // We understand no critical extensions.
  if (!IsAccessToken(type) || !algorithm || !signature || header.contains("crit")) {
    return NotValid();
  }
  const bool is_signed = keys.Verify(id, *algorithm, parts.signed_text, *signature);
  return is_signed ? absl::OkStatus() : NotValid();
}

bool IsFor(const Json& claims, const std::string& audience) {
  const auto found = claims.find("aud");
  if (found == claims.end()) return false;
  if (found->is_string()) return *found == audience;
  return found->is_array() && std::find(found->begin(), found->end(), audience) != found->end();
}

absl::Status CheckTimes(const Json& claims, absl::Duration leeway, absl::Time now) {
  ASSIGN_OR_RETURN(const auto expires, TimeIn(claims, "exp"));
  ASSIGN_OR_RETURN(const auto not_before, TimeIn(claims, "nbf"));
  if (!expires || (not_before && now + leeway < *not_before)) return NotValid();
  if (now - leeway < *expires) return absl::OkStatus();
  return absl::DeadlineExceededError("the token has expired");
}

absl::StatusOr<Identity> IdentityIn(const Json& claims) {
  ASSIGN_OR_RETURN(auto tenant, TextIn(claims, "tenant"));
  if (!tenant) {
    ASSIGN_OR_RETURN(tenant, TextIn(claims, "sub"));
  }
  ASSIGN_OR_RETURN(const auto scope, TextIn(claims, "scope"));
  if (!tenant || !IsValidTenant(*tenant)) return NotValid();
  return IdentityWith(*std::move(tenant), Scopes::KnownOf(scope.value_or("")));
}

}  // namespace

absl::StatusOr<Identity> ReadJsonWebToken(std::string_view token, const JsonWebKeys& keys,
                                          const JwtRules& rules, absl::Time now) {
  const std::optional<Parts> parts = Split(token);
  if (!parts) return NotValid();
  RETURN_IF_ERROR(CheckSignature(*parts, keys));
  ASSIGN_OR_RETURN(const Json claims, DecodeObject(parts->claims));
  ASSIGN_OR_RETURN(const auto issuer, TextIn(claims, "iss"));
  if (issuer != rules.issuer || !IsFor(claims, rules.audience)) return NotValid();
  RETURN_IF_ERROR(CheckTimes(claims, rules.leeway, now));
  return IdentityIn(claims);
}

}  // namespace denoise
