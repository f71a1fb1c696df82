#include "tests/server/identity/jwt_testing.h"

#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string NumberOf(const EVP_PKEY* key, const char* name, int bytes) {
  BIGNUM* number = nullptr;
  EXPECT_TRUE(EVP_PKEY_get_bn_param(key, name, &number) == 1);
  std::string text(static_cast<size_t>(bytes == 0 ? BN_num_bytes(number) : bytes), '\0');
  BN_bn2binpad(number, reinterpret_cast<unsigned char*>(text.data()),
               static_cast<int>(text.size()));
  BN_free(number);
  return text;
}

// The two numbers of a DER signature, as a token has them.
std::string HalvesOf(const std::string& der, int coordinate_bytes) {
  const unsigned char* data = Bytes(der);
  ECDSA_SIG* const numbers = d2i_ECDSA_SIG(nullptr, &data, static_cast<long>(der.size()));
  std::string halves(static_cast<size_t>(2 * coordinate_bytes), '\0');
  auto* const out = reinterpret_cast<unsigned char*>(halves.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(numbers), out, coordinate_bytes);
  BN_bn2binpad(ECDSA_SIG_get0_s(numbers), out + coordinate_bytes, coordinate_bytes);
  ECDSA_SIG_free(numbers);
  return halves;
}

const EVP_MD* DigestOf(const std::string& algorithm) {
  if (algorithm == "EdDSA") return nullptr;
  if (absl::EndsWith(algorithm, "384")) return EVP_sha384();
  return absl::EndsWith(algorithm, "512") ? EVP_sha512() : EVP_sha256();
}

}  // namespace

struct SigningKey::Pair {
  std::string kind;
  EVP_PKEY* key;
  ~Pair() { EVP_PKEY_free(key); }
};

SigningKey::SigningKey(const std::string& kind, int bits) : pair_(std::make_unique<Pair>()) {
  pair_->kind = kind;
  if (kind == "RSA") {
    pair_->key = EVP_RSA_gen(static_cast<unsigned>(bits));
  } else if (kind == "Ed25519") {
    pair_->key = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  } else {
    pair_->key = EVP_EC_gen(kind.c_str());
  }
  EXPECT_TRUE(pair_->key != nullptr);
}

SigningKey::~SigningKey() = default;

std::string SigningKey::Jwk(const std::string& id, const std::string& more) const {
  std::string members;
  if (pair_->kind == "RSA") {
    members = absl::StrCat(
        R"("kty": "RSA", "n": ")", Base64Url(NumberOf(pair_->key, OSSL_PKEY_PARAM_RSA_N, 0)),
        R"(", "e": ")", Base64Url(NumberOf(pair_->key, OSSL_PKEY_PARAM_RSA_E, 0)), "\"");
  } else if (pair_->kind == "Ed25519") {
    std::string x(32, '\0');
    size_t size = x.size();
    EVP_PKEY_get_raw_public_key(pair_->key, reinterpret_cast<unsigned char*>(x.data()), &size);
    members = absl::StrCat(R"("kty": "OKP", "crv": "Ed25519", "x": ")", Base64Url(x), "\"");
  } else {
    const int bytes = pair_->kind == "P-256" ? 32 : 48;
    members = absl::StrCat(R"("kty": "EC", "crv": ")", pair_->kind, R"(", "x": ")",
                           Base64Url(NumberOf(pair_->key, OSSL_PKEY_PARAM_EC_PUB_X, bytes)),
                           R"(", "y": ")",
                           Base64Url(NumberOf(pair_->key, OSSL_PKEY_PARAM_EC_PUB_Y, bytes)), "\"");
  }
  return absl::StrCat("{", members, R"(, "kid": ")", id, "\"", more, "}");
}

std::string SigningKey::PublicPem() const {
  BIO* const memory = BIO_new(BIO_s_mem());
  PEM_write_bio_PUBKEY(memory, pair_->key);
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  const std::string pem(data, static_cast<size_t>(size));
  BIO_free(memory);
  return pem;
}

std::string SigningKey::Sign(const std::string& algorithm, std::string_view header,
                             std::string_view claims) const {
  const std::string text = absl::StrCat(Base64Url(header), ".", Base64Url(claims));
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  EVP_PKEY_CTX* key_context = nullptr;
  EXPECT_TRUE(EVP_DigestSignInit(context, &key_context, DigestOf(algorithm), nullptr, pair_->key) ==
              1);
  if (algorithm == "PS256") {
    EVP_PKEY_CTX_set_rsa_padding(key_context, RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(key_context, RSA_PSS_SALTLEN_DIGEST);
  }
  std::string signature(1024, '\0');
  size_t size = signature.size();
  EXPECT_TRUE(EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size,
                             Bytes(text), text.size()) == 1);
  EVP_MD_CTX_free(context);
  signature.resize(size);
  if (algorithm == "ES256") signature = HalvesOf(signature, 32);
  if (algorithm == "ES384") signature = HalvesOf(signature, 48);
  return absl::StrCat(text, ".", Base64Url(signature));
}

std::string Base64Url(std::string_view bytes) {
  return absl::WebSafeBase64Escape(absl::string_view(bytes.data(), bytes.size()));
}

std::string SignHs256(std::string_view secret, std::string_view header, std::string_view claims) {
  const std::string text = absl::StrCat(Base64Url(header), ".", Base64Url(claims));
  unsigned char mac[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), Bytes(text), text.size(), mac,
       &size);
  return absl::StrCat(text, ".", Base64Url({reinterpret_cast<char*>(mac), size}));
}

}  // namespace denoise
