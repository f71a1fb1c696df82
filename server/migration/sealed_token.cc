#include "server/migration/sealed_token.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace denoise {
namespace {

static_assert(std::endian::native == std::endian::little, "the expiry is little-endian");
static_assert(kTokenOverheadBytes ==
              1 + sizeof(TokenKey::id) + crypto_aead_xchacha20poly1305_ietf_NPUBBYTES +
                  sizeof(int64_t) + crypto_aead_xchacha20poly1305_ietf_ABYTES);
static_assert(sizeof(TokenKey::secret) == crypto_aead_xchacha20poly1305_ietf_KEYBYTES);

constexpr char kVersion = 1;
constexpr size_t kHeaderBytes = 1 + sizeof(TokenKey::id);
constexpr size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr size_t kTagBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;

unsigned char* Bytes(char* bytes) { return reinterpret_cast<unsigned char*>(bytes); }
const unsigned char* Bytes(const char* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}

std::string HeaderOf(const TokenKey& key) {
  std::string header(1, kVersion);
  header.append(key.id.begin(), key.id.end());
  return header;
}

// The length keeps two different scopes from having the same bytes.
std::string Authenticated(std::string_view header, const TokenScope& scope) {
  return absl::StrCat(absl::string_view(header.data(), header.size()), scope.purpose.size(), ":",
                      absl::string_view(scope.purpose.data(), scope.purpose.size()),
                      absl::string_view(scope.tenant.data(), scope.tenant.size()));
}

// The expiry and the content. Requires a token of at least kTokenOverheadBytes.
std::optional<std::string> Decrypt(std::string_view token, const TokenScope& scope,
                                   const TokenKey& key) {
  const std::string authenticated = Authenticated(token.substr(0, kHeaderBytes), scope);
  const char* const nonce = token.data() + kHeaderBytes;
  const std::string_view sealed = token.substr(kHeaderBytes + kNonceBytes);
  std::string opened(sealed.size() - kTagBytes, '\0');
  const int result = crypto_aead_xchacha20poly1305_ietf_decrypt(
      Bytes(opened.data()), nullptr, nullptr, Bytes(sealed.data()), sealed.size(),
      Bytes(authenticated.data()), authenticated.size(), Bytes(nonce), key.secret.data());
  return result == 0 ? std::optional(std::move(opened)) : std::nullopt;
}

std::optional<std::string> DecryptWithAny(std::string_view token, const TokenScope& scope,
                                          const TokenKeys& keys) {
  if (token.size() < kTokenOverheadBytes) return std::nullopt;
  for (const TokenKey& key : keys) {
    if (!token.starts_with(HeaderOf(key))) continue;
    if (auto opened = Decrypt(token, scope, key)) return opened;
  }
  return std::nullopt;
}

// Why no key opens `token`. Of one that belongs to another tenant it says no more than of one that is
// damaged.
absl::Status WhyNotOpened(std::string_view token, const TokenKeys& keys) {
  if (token.size() < kTokenOverheadBytes || token.front() != kVersion) {
    return absl::InvalidArgumentError(
        "is not a token: it must be what `denoise generations pause` writes to its file, or the "
        "token of a Handover or of a PauseGenerationResponse. Send all of its bytes, or begin "
        "again "
        "without it");
  }
  const bool has_key = std::any_of(keys.begin(), keys.end(), [token](const TokenKey& key) {
    return token.starts_with(HeaderOf(key));
  });
  if (!has_key) {
    return absl::InvalidArgumentError(
        "was sealed with a key that this server does not have. Send it to a server of the "
        "deployment that it comes from, give this server the same --handover-key, or begin again "
        "without it");
  }
  return absl::InvalidArgumentError(
      "is damaged, cut short, or belongs to another tenant. Send it as it was received, with the "
      "same credentials, or begin again without it");
}

}  // namespace

std::string SealToken(std::string_view content, const TokenScope& scope, absl::Time expires,
                      const TokenKeys& keys) {
  DENOISE_DCHECK(!keys.empty());
  const TokenKey& key = keys.front();
  std::string token = HeaderOf(key);
  const std::string authenticated = Authenticated(token, scope);
  token.resize(kTokenOverheadBytes + content.size());
  char* const nonce = token.data() + kHeaderBytes;
  char* const sealed = nonce + kNonceBytes;
  randombytes_buf(nonce, kNonceBytes);
  const int64_t expires_micros = absl::ToUnixMicros(expires);
  std::memcpy(sealed, &expires_micros, sizeof(expires_micros));
  std::copy(content.begin(), content.end(), sealed + sizeof(expires_micros));
  crypto_aead_xchacha20poly1305_ietf_encrypt(
      Bytes(sealed), nullptr, Bytes(sealed), sizeof(expires_micros) + content.size(),
      Bytes(authenticated.data()), authenticated.size(), nullptr, Bytes(nonce), key.secret.data());
  return token;
}

absl::StatusOr<std::string> OpenToken(std::string_view token, const TokenScope& scope,
                                      absl::Time now, const TokenKeys& keys) {
  std::optional<std::string> opened = DecryptWithAny(token, scope, keys);
  if (!opened) return WhyNotOpened(token, keys);
  int64_t expires_micros = 0;
  std::memcpy(&expires_micros, opened->data(), sizeof(expires_micros));
  const absl::Time expires = absl::FromUnixMicros(expires_micros);
  if (expires < now) {
    return absl::FailedPreconditionError(
        absl::StrCat("the token expired at ", absl::FormatTime(expires, absl::UTCTimeZone()),
                     ". Begin again without it"));
  }
  opened->erase(0, sizeof(expires_micros));
  return *std::move(opened);
}

}  // namespace denoise
