// Keys and tokens of an identity provider that the tests play.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace denoise {

// A key pair, made anew.
class SigningKey {
 public:
  // "RSA", "P-256", "P-384" or "Ed25519". `bits` is of RSA.
  explicit SigningKey(const std::string& kind, int bits = 2048);
  ~SigningKey();

  // The public key as a JWK; `more` is added to it, such as ", \"alg\": \"RS256\"".
  std::string Jwk(const std::string& id, const std::string& more = "") const;
  std::string PublicPem() const;

  // "HEADER.CLAIMS.SIGNATURE" by the algorithm that is named, whatever the header says.
  std::string Sign(const std::string& algorithm, std::string_view header,
                   std::string_view claims) const;

 private:
  struct Pair;
  const std::unique_ptr<Pair> pair_;
};

// Of keys, separated by commas.
inline std::string Jwks(const std::string& keys) { return "{\"keys\": [" + keys + "]}"; }

std::string Base64Url(std::string_view bytes);
// "HEADER.CLAIMS.SIGNATURE" by HS256 with any secret.
std::string SignHs256(std::string_view secret, std::string_view header, std::string_view claims);

}  // namespace denoise
