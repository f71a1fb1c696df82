// The public keys of those who sign tokens, from a JWKS file (RFC 7517).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

// Immutable and thread-safe.
class JsonWebKeys {
 public:
  JsonWebKeys();
  ~JsonWebKeys();
  JsonWebKeys(JsonWebKeys&&) noexcept;
  JsonWebKeys& operator=(JsonWebKeys&&) noexcept;

  // Keys of other kinds or for encryption are left out. InvalidArgument: it is no JWKS, a key is
  // malformed or too short (RSA: 2048 bits), two keys have the same id, a key is private, or no key
  // is left.
  static absl::StatusOr<JsonWebKeys> Parse(std::string_view json);

  // Whether `signature` of `message` is that of the key `id`, by the algorithm that a token calls
  // `algorithm`. That must be one of the key's own: an algorithm is never taken from the token alone,
  // and "none" and HS* are no algorithms here. Without an id there must be one key only.
  bool Verify(const std::optional<std::string>& id, std::string_view algorithm,
              std::string_view message, std::string_view signature) const;

 private:
  struct Key;
  const Key* Find(const std::optional<std::string>& id) const;

  std::vector<std::unique_ptr<const Key>> keys_;
};

}  // namespace denoise
