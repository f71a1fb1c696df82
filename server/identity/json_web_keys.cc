#include "server/identity/json_web_keys.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/c_deleter.h"
#include "core/base/status_macros.h"
#include "core/json/strict_json.h"
#include "server/identity/base64url.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

using KeyHandle = std::unique_ptr<EVP_PKEY, CDeleter<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, CDeleter<EVP_PKEY_CTX_free>>;
using Digest = std::unique_ptr<EVP_MD_CTX, CDeleter<EVP_MD_CTX_free>>;
using Number = std::unique_ptr<BIGNUM, CDeleter<BN_free>>;
using ParamBuilder = std::unique_ptr<OSSL_PARAM_BLD, CDeleter<OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, CDeleter<OSSL_PARAM_free>>;
using EcSignature = std::unique_ptr<ECDSA_SIG, CDeleter<ECDSA_SIG_free>>;

constexpr size_t kMaxKeys = 64;
constexpr int kMinRsaBits = 2048;
constexpr int kMaxRsaBits = 8192;  // every call of a caller costs a verification

// The algorithms of RFC 7518 and RFC 8037 that need no shared secret.
struct Algorithm {
  std::string_view name;
  std::string_view key_type;  // "kty", and for elliptic curves
  std::string_view curve;     // "crv"
  const EVP_MD* (*digest)();
  bool is_pss = false;
  size_t coordinate_bytes = 0;  // of a signature's two halves
};
constexpr Algorithm kAlgorithms[] = {
    {"RS256", "RSA", "", EVP_sha256},
    {"RS384", "RSA", "", EVP_sha384},
    {"RS512", "RSA", "", EVP_sha512},
    {"PS256", "RSA", "", EVP_sha256, /*is_pss=*/true},
    {"ES256", "EC", "P-256", EVP_sha256, false, 32},
    {"ES384", "EC", "P-384", EVP_sha384, false, 48},
    {"EdDSA", "OKP", "Ed25519", nullptr},
};

const Algorithm* FindAlgorithm(std::string_view name) {
  const auto* const found = std::find_if(std::begin(kAlgorithms), std::end(kAlgorithms),
                                         [&](const auto& each) { return each.name == name; });
  return found == std::end(kAlgorithms) ? nullptr : found;
}

bool AreUsedWith(const Algorithm& algorithm, std::string_view key_type, std::string_view curve) {
  return algorithm.key_type == key_type && (algorithm.curve.empty() || algorithm.curve == curve);
}

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

Number NumberOf(std::string_view bytes) {
  return Number(BN_bin2bn(Bytes(bytes), static_cast<int>(bytes.size()), nullptr));
}

absl::Status Malformed(std::string_view what) {
  return absl::InvalidArgumentError(std::string(what).append(" is missing or malformed"));
}

// The member, or "" where it is absent.
absl::StatusOr<std::string> TextIn(const Json& key, const char* member) {
  const auto found = key.find(member);
  if (found == key.end()) return "";
  if (!found->is_string()) return Malformed(member);
  return found->get<std::string>();
}

absl::StatusOr<std::string> BytesIn(const Json& key, const char* member) {
  ASSIGN_OR_RETURN(const std::string text, TextIn(key, member));
  std::optional<std::string> bytes = DecodeBase64Url(text);
  if (!bytes || bytes->empty()) return Malformed(member);
  return *std::move(bytes);
}

// Null where OpenSSL does not take them for a public key.
KeyHandle KeyFrom(const char* type, OSSL_PARAM_BLD* builder) {
  const Params params(OSSL_PARAM_BLD_to_param(builder));
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) != 1) {
    return nullptr;
  }
  return KeyHandle(key);
}

absl::StatusOr<KeyHandle> ReadRsaKey(const Json& json) {
  ASSIGN_OR_RETURN(const std::string modulus, BytesIn(json, "n"));
  ASSIGN_OR_RETURN(const std::string exponent, BytesIn(json, "e"));
  const Number n = NumberOf(modulus), e = NumberOf(exponent);
  if (!n || !e || BN_num_bits(n.get()) < kMinRsaBits || BN_num_bits(n.get()) > kMaxRsaBits) {
    return absl::InvalidArgumentError("an RSA key must have 2048 to 8192 bits");
  }
  if (BN_is_odd(e.get()) == 0 || BN_is_one(e.get()) == 1 || exponent.size() > 8) {
    return Malformed("e");
  }
  const ParamBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get());
  return KeyFrom("RSA", builder.get());
}

absl::StatusOr<KeyHandle> ReadEcKey(const Json& json, const Algorithm& algorithm) {
  ASSIGN_OR_RETURN(const std::string x, BytesIn(json, "x"));
  ASSIGN_OR_RETURN(const std::string y, BytesIn(json, "y"));
  if (x.size() != algorithm.coordinate_bytes) return Malformed("x");
  if (y.size() != algorithm.coordinate_bytes) return Malformed("y");
  constexpr char kUncompressed = 0x04;
  const std::string point = kUncompressed + x + y;
  const ParamBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, algorithm.curve.data(),
                                  algorithm.curve.size());
  OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                   point.size());
  return KeyFrom("EC", builder.get());
}

absl::StatusOr<KeyHandle> ReadEd25519Key(const Json& json) {
  ASSIGN_OR_RETURN(const std::string x, BytesIn(json, "x"));
  return KeyHandle(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, Bytes(x), x.size()));
}

absl::StatusOr<KeyHandle> ReadPublicKey(const Json& json, const Algorithm& algorithm) {
  absl::StatusOr<KeyHandle> key;
  if (algorithm.key_type == "RSA") {
    key = ReadRsaKey(json);
  } else if (algorithm.key_type == "EC") {
    key = ReadEcKey(json, algorithm);
  } else {
    key = ReadEd25519Key(json);
  }
  RETURN_IF_ERROR(key.status());
  if (*key) return key;
  return absl::InvalidArgumentError("it is not a public key of its kind");
}

// The signature of ECDSA as OpenSSL wants it; a token has its two numbers one after the other.
std::string DerOf(std::string_view signature, size_t coordinate_bytes) {
  if (signature.size() != 2 * coordinate_bytes) return "";
  const EcSignature numbers(ECDSA_SIG_new());
  Number r = NumberOf(signature.substr(0, coordinate_bytes));
  Number s = NumberOf(signature.substr(coordinate_bytes));
  if (!numbers || ECDSA_SIG_set0(numbers.get(), r.get(), s.get()) != 1) return "";
  (void)r.release();  // they are the signature's now
  (void)s.release();
  unsigned char* bytes = nullptr;
  const int size = i2d_ECDSA_SIG(numbers.get(), &bytes);
  if (size <= 0) return "";
  const std::string der(reinterpret_cast<char*>(bytes), static_cast<size_t>(size));
  OPENSSL_free(bytes);
  return der;
}

bool SetPss(EVP_PKEY_CTX* context, const EVP_MD* digest) {
  return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1 &&
         EVP_PKEY_CTX_set_rsa_mgf1_md(context, digest) == 1;
}

bool VerifySignature(EVP_PKEY* key, const Algorithm& algorithm, std::string_view message,
                     std::string_view signature) {
  const EVP_MD* const digest = algorithm.digest == nullptr ? nullptr : algorithm.digest();
  const Digest context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* key_context = nullptr;
  if (!context || EVP_DigestVerifyInit(context.get(), &key_context, digest, nullptr, key) != 1 ||
      (algorithm.is_pss && !SetPss(key_context, digest))) {
    return false;
  }
  std::string der;
  if (algorithm.coordinate_bytes > 0) {
    der = DerOf(signature, algorithm.coordinate_bytes);
    signature = der;
  }
  return EVP_DigestVerify(context.get(), Bytes(signature), signature.size(), Bytes(message),
                          message.size()) == 1;
}

}  // namespace

struct JsonWebKeys::Key {
  std::string id;  // may be empty
  std::vector<const Algorithm*> algorithms;
  KeyHandle handle;

  // Null for a key that is not for signatures of these kinds.
  static absl::StatusOr<std::unique_ptr<const Key>> Read(const Json& json) {
    if (!json.is_object()) return absl::InvalidArgumentError("it is not an object");
    ASSIGN_OR_RETURN(const std::string type, TextIn(json, "kty"));
    ASSIGN_OR_RETURN(const std::string curve, TextIn(json, "crv"));
    ASSIGN_OR_RETURN(const std::string use, TextIn(json, "use"));
    ASSIGN_OR_RETURN(const std::string algorithm, TextIn(json, "alg"));
    auto key = std::make_unique<Key>();
    ASSIGN_OR_RETURN(key->id, TextIn(json, "kid"));
    for (const Algorithm& each : kAlgorithms) {
      const bool is_asked_for = algorithm.empty() || algorithm == each.name;
      if (is_asked_for && AreUsedWith(each, type, curve)) key->algorithms.push_back(&each);
    }
    if (key->algorithms.empty() || (!use.empty() && use != "sig")) return nullptr;
    if (json.contains("d")) {
      return absl::InvalidArgumentError("it is private; the file must hold public keys only");
    }
    ASSIGN_OR_RETURN(key->handle, ReadPublicKey(json, *key->algorithms.front()));
    return std::unique_ptr<const Key>(std::move(key));
  }
};

JsonWebKeys::JsonWebKeys() = default;
JsonWebKeys::~JsonWebKeys() = default;
JsonWebKeys::JsonWebKeys(JsonWebKeys&&) noexcept = default;
JsonWebKeys& JsonWebKeys::operator=(JsonWebKeys&&) noexcept = default;

absl::StatusOr<JsonWebKeys> JsonWebKeys::Parse(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, ParseStrictJsonObject(text));
  const auto list = json.find("keys");
  if (list == json.end() || !list->is_array() || list->size() > kMaxKeys) {
    return absl::InvalidArgumentError("\"keys\" must be a list of at most 64 keys");
  }
  JsonWebKeys keys;
  for (const Json& entry : *list) {
    auto key = Key::Read(entry);
    if (key.ok() && *key && keys.Find((*key)->id) != nullptr) {
      key = absl::InvalidArgumentError("another key has its \"kid\"");
    }
    if (!key.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("keys[", &entry - &list->front(), "]: ", key.status().message()));
    }
    if (*key) keys.keys_.push_back(*std::move(key));
  }
  if (!keys.keys_.empty()) return keys;
  return absl::InvalidArgumentError(
      "it has no key for signatures; RSA, P-256, P-384 and Ed25519 are supported");
}

const JsonWebKeys::Key* JsonWebKeys::Find(const std::optional<std::string>& id) const {
  if (!id) return keys_.size() == 1 ? keys_.front().get() : nullptr;
  for (const auto& key : keys_) {
    if (key->id == *id) return key.get();
  }
  return nullptr;
}

bool JsonWebKeys::Verify(const std::optional<std::string>& id, std::string_view algorithm,
                         std::string_view message, std::string_view signature) const {
  const Key* const key = Find(id);
  const Algorithm* const named = FindAlgorithm(algorithm);
  if (key == nullptr || named == nullptr) return false;
  const auto& own = key->algorithms;
  if (std::find(own.begin(), own.end(), named) == own.end()) return false;
  return VerifySignature(key->handle.get(), *named, message, signature);
}

}  // namespace denoise
