// Tokens: bytes that callers carry from one server of a deployment to another, and can neither read
// nor change.
//
// XChaCha20-Poly1305, whose nonces are long enough to be random. A token is
//
//     version   1 byte: 1
//     key id    4 bytes: TokenKey::id
//     nonce     24 bytes
//     sealed    the expiry in microseconds since 1970, 8 bytes little-endian, then the content
//     tag       16 bytes
//
// The version, the key id and the scope are authenticated with it. A token can be presented more
// than once until it expires: servers share no memory of those that they have seen.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/migration/token_keys.h"

namespace denoise {

// What a token is good for. It opens only with the same scope.
struct TokenScope {
  std::string_view purpose;  // "handover"
  std::string_view tenant;   // whose it is; may be empty
};

// How many bytes a token has more than its content.
inline constexpr size_t kTokenOverheadBytes = 1 + 4 + 24 + 8 + 16;

// Thread-safe, as the next one.
std::string SealToken(std::string_view content, const TokenScope& scope, absl::Time expires,
                      const TokenKeys& keys);

// The content. InvalidArgument unless SealToken made every byte of `token`, with the same scope and
// one of `keys`; FailedPrecondition if it expired before `now`.
absl::StatusOr<std::string> OpenToken(std::string_view token, const TokenScope& scope,
                                      absl::Time now, const TokenKeys& keys);

}  // namespace denoise
