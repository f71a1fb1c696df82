#include "server/migration/token_keys.h"

#include <sodium.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/read_file.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr size_t kMaxKeys = 16;
constexpr size_t kMaxFileBytes = 64 << 10;

// Before the first use of the library: nobody seals or opens without keys. May be repeated.
void InitSodium() {
  if (sodium_init() < 0) std::abort();  // there is no source of randomness
}

TokenKey KeyOf(const std::array<unsigned char, 32>& secret) {
  std::array<unsigned char, crypto_generichash_BYTES> hash;
  crypto_generichash(hash.data(), hash.size(), secret.data(), secret.size(), nullptr, 0);
  TokenKey key{.id = {}, .secret = secret};
  std::copy_n(hash.begin(), key.id.size(), key.id.begin());
  return key;
}

std::optional<TokenKey> ParseKey(std::string_view digits) {
  std::array<unsigned char, 32> secret;
  size_t size = 0;
  const char* end = nullptr;
  const bool parsed = sodium_hex2bin(secret.data(), secret.size(), digits.data(), digits.size(),
                                     nullptr, &size, &end) == 0;
  if (!parsed || size != secret.size() || end != digits.data() + digits.size()) return std::nullopt;
  return KeyOf(secret);
}

}  // namespace

absl::StatusOr<TokenKeys> ParseTokenKeys(std::string_view text) {
  InitSodium();
  TokenKeys keys;
  int number = 0;
  for (const absl::string_view raw :
       absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++number;
    const absl::string_view line = absl::StripAsciiWhitespace(raw);
    if (line.empty() || line.front() == '#') continue;
    const std::optional<TokenKey> key = ParseKey({line.data(), line.size()});
    if (!key) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number,
                       " is not a key: a key is 64 hexadecimal digits. "
                       "`denoised new-handover-key` prints one"));
    }
    keys.push_back(*key);
  }
  if (keys.empty() || keys.size() > kMaxKeys) {
    return absl::InvalidArgumentError(
        absl::StrCat("holds ", keys.size(), " keys; it must hold 1 to ", kMaxKeys));
  }
  return keys;
}

absl::StatusOr<TokenKeys> ReadTokenKeys(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  absl::StatusOr<TokenKeys> keys = ParseTokenKeys(text);
  if (keys.ok()) return keys;
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", keys.status().message()));
}

std::string NewTokenKeyLine() {
  InitSodium();
  std::array<unsigned char, 32> secret;
  randombytes_buf(secret.data(), secret.size());
  std::array<char, 2 * secret.size() + 1> digits;
  sodium_bin2hex(digits.data(), digits.size(), secret.data(), secret.size());
  return absl::StrCat(digits.data(), "\n");
}

}  // namespace denoise
