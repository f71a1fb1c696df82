// The bearer tokens that a server accepts, as salted hashes in a file.
//
// A line of the file is a token's entry, a JSON object; empty lines and lines that begin with # are
// skipped:
//
//     {"name": "ci", "tenant": "acme", "scopes": ["generate"], "salt": "...", "sha256": "...",
//      "expires": "2027-01-31T00:00:00Z"}
//
// A token is "dnt_NAME_SECRET". The secret has 256 random bits, so nobody can find it by trying, and
// a slow hash (scrypt, Argon2) would protect nothing but would cost every call; a salted SHA-256 is
// enough.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/identity/identity.h"

namespace denoise {

struct TokenEntry {
  std::string name;
  std::string tenant;
  Scopes scopes;
  std::string salt;  // hexadecimal, as the hash
  std::string sha256;
  std::optional<absl::Time> expires;
};

struct NewToken {
  std::string token;  // kept nowhere else
  TokenEntry entry;
};
// InvalidArgument: the name or the tenant is malformed, or there is no scope.
absl::StatusOr<NewToken> MakeToken(std::string_view name, std::string_view tenant, Scopes scopes,
                                   std::optional<absl::Time> expires);
// A line of the file, without its end.
std::string EncodeTokenEntry(const TokenEntry& entry);

// Whether a bearer token has the form of these.
bool LooksLikeToken(std::string_view token);

// Immutable and thread-safe.
class TokenFile {
 public:
  TokenFile() = default;

  // InvalidArgument names the line and what is wrong with it.
  static absl::StatusOr<TokenFile> Parse(std::string_view text);

  // The entry of a token, also of one that has expired; null where there is none. Takes as long for
  // a wrong secret as for the right one.
  const TokenEntry* Find(std::string_view token) const;

 private:
  std::map<std::string, TokenEntry, std::less<>> entries_;  // by name
};

}  // namespace denoise
