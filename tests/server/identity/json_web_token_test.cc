#include "server/identity/json_web_token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/server/identity/jwt_testing.h"

namespace denoise {
namespace {

using testing::HasSubstr;

const JwtRules kRules = {.issuer = "https://issuer", .audience = "denoised"};
const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

const SigningKey& Rsa() {
  static const auto* const key = new SigningKey("RSA");
  return *key;
}

std::string Header(const std::string& algorithm, const std::string& more = "") {
  return absl::StrCat(R"({"alg": ")", algorithm, R"(", "kid": "k1")", more, "}");
}

// With every member in its place. `more` is added.
std::string Claims(const std::string& more = "") {
  return absl::StrCat(R"({"iss": "https://issuer", "aud": "denoised", "sub": "acme", )",
                      R"("exp": 1800000060, "scope": "openid generate")", more, "}");
}

JsonWebKeys RsaKeys(const std::string& more = "") {
  return JsonWebKeys::Parse(Jwks(Rsa().Jwk("k1", more))).value();
}

absl::StatusOr<Identity> Read(const std::string& token, absl::Time now = kNow) {
  static const auto* const keys = new JsonWebKeys(RsaKeys());
  return ReadJsonWebToken(token, *keys, kRules, now);
}

absl::StatusOr<Identity> ReadClaims(const std::string& claims, absl::Time now = kNow) {
  return Read(Rsa().Sign("RS256", Header("RS256"), claims), now);
}

TEST(JsonWebToken, SaysWhoCallsAndWhatTheyMayDo) {
  const auto caller = ReadClaims(Claims());
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_EQ(caller->tenant, "acme");
  EXPECT_EQ(caller->scopes, Scopes({Scope::kGenerate}));
  EXPECT_FALSE(caller->sees_all);
  EXPECT_EQ(ReadClaims(Claims(R"(, "tenant": "globex")"))->tenant, "globex");
}

TEST(JsonWebToken, EveryAlgorithmVerifiesWithAKeyOfItsKindOnly) {
  const struct {
    std::string kind;
    std::vector<std::string> algorithms;
  } kinds[] = {{"RSA", {"RS256", "RS384", "RS512", "PS256"}},
               {"P-256", {"ES256"}},
               {"P-384", {"ES384"}},
               {"Ed25519", {"EdDSA"}}};
  for (const auto& kind : kinds) {
    const SigningKey key(kind.kind), stranger(kind.kind);
    const auto keys = JsonWebKeys::Parse(Jwks(key.Jwk("k1")));
    ASSERT_TRUE(keys.ok()) << kind.kind << keys.status();
    for (const std::string& algorithm : kind.algorithms) {
      const std::string token = key.Sign(algorithm, Header(algorithm), Claims());
      EXPECT_TRUE(ReadJsonWebToken(token, *keys, kRules, kNow).ok()) << algorithm;
      const std::string forged = stranger.Sign(algorithm, Header(algorithm), Claims());
      EXPECT_FALSE(ReadJsonWebToken(forged, *keys, kRules, kNow).ok()) << algorithm;
      EXPECT_FALSE(Read(token).ok()) << algorithm << " with another key of the same id";
      for (const auto& other : kinds) {
        for (const std::string& claimed : other.algorithms) {
          if (claimed == algorithm) continue;
          EXPECT_FALSE(
              ReadJsonWebToken(key.Sign(algorithm, Header(claimed), Claims()), *keys, kRules, kNow)
                  .ok())
              << algorithm << " as " << claimed;
        }
      }
    }
  }
}

TEST(JsonWebToken, AKeysAlgorithmBindsIt) {
  const JsonWebKeys bound = RsaKeys(R"(, "alg": "PS256")");
  EXPECT_TRUE(
      ReadJsonWebToken(Rsa().Sign("PS256", Header("PS256"), Claims()), bound, kRules, kNow).ok());
  EXPECT_FALSE(
      ReadJsonWebToken(Rsa().Sign("RS256", Header("RS256"), Claims()), bound, kRules, kNow).ok());
}

TEST(JsonWebToken, NoneIsNoAlgorithm) {
  const std::string signed_token = Rsa().Sign("RS256", Header("RS256"), Claims());
  const std::string signature = signed_token.substr(signed_token.rfind('.'));
  for (const char* none : {"none", "None", "NONE", "nOnE", ""}) {
    const std::string text = absl::StrCat(Base64Url(Header(none)), ".", Base64Url(Claims()));
    EXPECT_FALSE(Read(text + ".").ok()) << none;
    EXPECT_FALSE(Read(text + signature).ok()) << none;
    EXPECT_FALSE(Read(text).ok()) << none;
  }
}

TEST(JsonWebToken, ThePublicKeyIsNoSharedSecret) {
  for (const std::string& secret :
       {Rsa().PublicPem(), Rsa().Jwk("k1"), std::string(), std::string("secret")}) {
    EXPECT_FALSE(Read(SignHs256(secret, Header("HS256"), Claims())).ok());
    EXPECT_FALSE(Read(SignHs256(secret, Header("RS256"), Claims())).ok());
  }
}

TEST(JsonWebToken, TheKeyIsTheOneThatTheTokenNames) {
  const auto sign = [](const std::string& header) { return Rsa().Sign("RS256", header, Claims()); };
  EXPECT_FALSE(Read(sign(R"({"alg": "RS256", "kid": "k2"})")).ok());
  EXPECT_FALSE(Read(sign(R"({"alg": "RS256", "kid": ""})")).ok());
  EXPECT_FALSE(Read(sign(R"({"alg": "RS256", "kid": 1})")).ok());
  EXPECT_FALSE(Read(sign(R"({"alg": "RS256", "kid": "../k1"})")).ok());
  EXPECT_TRUE(Read(sign(R"({"alg": "RS256"})")).ok()) << "there is one key only";
  const SigningKey other("P-256");
  const auto two = JsonWebKeys::Parse(Jwks(Rsa().Jwk("k1") + "," + other.Jwk("k2"))).value();
  EXPECT_FALSE(ReadJsonWebToken(sign(R"({"alg": "RS256"})"), two, kRules, kNow).ok());
  EXPECT_FALSE(ReadJsonWebToken(sign(R"({"alg": "RS256", "kid": "k2"})"), two, kRules, kNow).ok());
}

TEST(JsonWebToken, AKeyInTheTokenCountsForNothing) {
  const SigningKey attacker("RSA");
  const std::string header = Header(
      "RS256", absl::StrCat(R"(, "jwk": )", attacker.Jwk("k1"), R"(, "jku": "https://attacker")"));
  EXPECT_FALSE(Read(attacker.Sign("RS256", header, Claims())).ok());
}

TEST(JsonWebToken, IssuerAndAudienceMustBeOurs) {
  const auto with = [](const std::string& from, const std::string& to) {
    return ReadClaims(absl::StrReplaceAll(Claims(), {{from, to}})).ok();
  };
  EXPECT_FALSE(with("\"https://issuer\"", "\"https://issuer/\""));
  EXPECT_FALSE(with("\"https://issuer\"", "[\"https://issuer\"]"));
  EXPECT_FALSE(with("\"iss\"", "\"issuer\""));
  EXPECT_FALSE(with("\"denoised\"", "\"other\""));
  EXPECT_FALSE(with("\"denoised\"", "\"denoised2\""));
  EXPECT_FALSE(with("\"denoised\"", "[]"));
  EXPECT_FALSE(with("\"denoised\"", "[[\"denoised\"]]"));
  EXPECT_FALSE(with("\"denoised\"", "{\"denoised\": 1}"));
  EXPECT_FALSE(with("\"aud\"", "\"audience\""));
  EXPECT_TRUE(with("\"denoised\"", "[\"other\", \"denoised\"]"));
}

TEST(JsonWebToken, IsValidFromItsBeginningToItsEnd) {
  EXPECT_TRUE(ReadClaims(Claims(), kNow + absl::Seconds(89)).ok()) << "within the leeway";
  const auto late = ReadClaims(Claims(), kNow + absl::Seconds(90));
  EXPECT_TRUE(absl::IsDeadlineExceeded(late.status())) << late.status();
  EXPECT_TRUE(ReadClaims(Claims(R"(, "nbf": 1800000030)")).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(ReadClaims(Claims(R"(, "nbf": 1800000031)")).status()));
  EXPECT_TRUE(ReadClaims(Claims(R"(, "nbf": 1799999999.5)")).ok());
  for (const char* wrong : {"\"1800000060\"", "null", "true", "[1800000060]", "-1e999", "1e999"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        ReadClaims(absl::StrReplaceAll(Claims(), {{"1800000060", wrong}})).status()))
        << wrong;
  }
  EXPECT_FALSE(ReadClaims(absl::StrReplaceAll(Claims(), {{"\"exp\"", "\"expires\""}})).ok());
  EXPECT_FALSE(ReadClaims(Claims(R"(, "nbf": "now")")).ok());
}

TEST(JsonWebToken, AnExpiredTokenOfAStrangerIsNotCalledExpired) {
  const SigningKey stranger("RSA");
  EXPECT_TRUE(absl::IsInvalidArgument(
      Read(stranger.Sign("RS256", Header("RS256"), Claims()), kNow + absl::Hours(1)).status()));
}

TEST(JsonWebToken, ATenantIsAName) {
  for (const char* tenant : {"\"\"", "\"a/b\"", "\"a b\"", "7", "null", "[\"acme\"]"}) {
    EXPECT_FALSE(ReadClaims(Claims(absl::StrCat(R"(, "tenant": )", tenant))).ok()) << tenant;
  }
  EXPECT_FALSE(ReadClaims(absl::StrReplaceAll(Claims(), {{"\"sub\"", "\"subject\""}})).ok());
  EXPECT_EQ(ReadClaims(absl::StrReplaceAll(Claims(), {{"\"scope\"", "\"scopes\""}}))->scopes,
            Scopes());
}

TEST(JsonWebToken, ATokenOfAnotherKindIsNone) {
  const auto typed = [](const std::string& type) {
    return Read(Rsa().Sign("RS256", Header("RS256", absl::StrCat(R"(, "typ": )", type)), Claims()))
        .ok();
  };
  EXPECT_TRUE(typed("\"JWT\""));
  EXPECT_TRUE(typed("\"at+jwt\""));
  EXPECT_FALSE(typed("\"dpop+jwt\""));
  EXPECT_FALSE(typed("1"));
  EXPECT_FALSE(
      Read(Rsa().Sign("RS256", Header("RS256", R"(, "crit": ["b64"], "b64": false)"), Claims()))
          .ok());
}

TEST(JsonWebToken, ItsTextHasOneFormOnly) {
  const std::string token = Rsa().Sign("RS256", Header("RS256"), Claims());
  ASSERT_TRUE(Read(token).ok());
  const size_t first = token.find('.'), second = token.rfind('.');
  const std::vector<std::string> variants = {
      "",
      ".",
      "..",
      "...",
      token + ".",
      "." + token,
      token + "=",
      token + "==",
      token + " ",
      " " + token,
      token + "\n",
      token + std::string(1, '\0'),
      token.substr(0, second),
      token.substr(0, second + 1),
      token.substr(0, first) + "=" + token.substr(first),
      token.substr(0, first) + "." + token.substr(first),
      token.substr(0, token.size() - 1),
      token + "A",
  };
  for (const std::string& variant : variants) EXPECT_FALSE(Read(variant).ok()) << variant;
  // The last letter of a signature of 256 bytes has 4 bits that count for nothing.
  std::string stray = token;
  stray.back() = static_cast<char>(stray.back() == 'A' ? 'B' : stray.back() + 1);
  EXPECT_FALSE(Read(stray).ok());
}

TEST(JsonWebToken, AChangedByteAnywhereIsNoticed) {
  const std::string token = Rsa().Sign("RS256", Header("RS256"), Claims());
  for (size_t i = 0; i < token.size(); i += 3) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_EQ(Read(changed).ok(), changed == token) << i;
  }
}

TEST(JsonWebToken, GarbageIsRefused) {
  const auto with_header = [](const std::string& header) {
    return Read(Rsa().Sign("RS256", header, Claims())).ok();
  };
  const auto with_claims = [](const std::string& claims) { return ReadClaims(claims).ok(); };
  const std::string deep = std::string(2000, '[') + std::string(2000, ']');
  for (const std::string& garbage :
       {std::string(), std::string("null"), std::string("[]"), std::string("{"), deep,
        std::string("\xff\xfe"), "{\"alg\": " + deep + "}", std::string(1000, '\0')}) {
    EXPECT_FALSE(with_header(garbage)) << garbage.substr(0, 20);
    EXPECT_FALSE(with_claims(garbage)) << garbage.substr(0, 20);
  }
  EXPECT_FALSE(with_header(R"({"alg": "none", "alg": "RS256", "kid": "k1"})"))
      << "readers disagree on which one counts";
  EXPECT_FALSE(with_claims(Claims(R"(, "sub": "globex")")));
  EXPECT_FALSE(with_claims(Claims(absl::StrCat(R"(, "pad": ")", std::string(8000, 'a'), "\""))))
      << "too large";
  EXPECT_FALSE(Read(std::string(10'000'000, 'a')).ok());
  EXPECT_FALSE(Read(std::string(10'000'000, '.')).ok());
}

TEST(JsonWebKeys, RefusesWhatIsNoSetOfPublicKeys) {
  const auto error = [](const std::string& json) {
    return std::string(JsonWebKeys::Parse(json).status().message());
  };
  EXPECT_NE(error(""), "");
  EXPECT_NE(error("[]"), "");
  EXPECT_THAT(error("{}"), HasSubstr("\"keys\" must be a list"));
  EXPECT_THAT(error(Jwks("")), HasSubstr("no key for signatures"));
  EXPECT_THAT(error(Jwks("1")), HasSubstr("keys[0]: it is not an object"));
  EXPECT_THAT(error(Jwks(R"({"kty": "oct", "k": "c2VjcmV0", "kid": "k1"})")),
              HasSubstr("no key for signatures"));
  EXPECT_THAT(error(Jwks(Rsa().Jwk("k1", R"(, "use": "enc")"))), HasSubstr("no key"));
  EXPECT_THAT(error(Jwks(Rsa().Jwk("k1", R"(, "alg": "HS256")"))), HasSubstr("no key"));
  EXPECT_THAT(error(Jwks(Rsa().Jwk("k1", R"(, "d": "AQAB")"))), HasSubstr("it is private"));
  EXPECT_THAT(error(Jwks(Rsa().Jwk("k1") + "," + Rsa().Jwk("k1"))), HasSubstr("\"kid\""));
  EXPECT_THAT(error(Jwks(SigningKey("RSA", 1024).Jwk("k1"))), HasSubstr("2048"));
  EXPECT_THAT(error(Jwks(R"({"kty": "RSA", "n": "AQAB", "e": 3, "kid": "k1"})")), HasSubstr("e "));
  const std::string point = Base64Url(std::string(32, '\x01'));
  EXPECT_THAT(error(Jwks(absl::StrCat(R"({"kty": "EC", "crv": "P-256", "kid": "k1", "x": ")", point,
                                      R"(", "y": ")", point, "\"}"))),
              HasSubstr("not a public key"))
      << "a point that is not on the curve";
  EXPECT_EQ(error(Jwks(R"({"kty": "oct", "kid": "k0"},)" + Rsa().Jwk("k1"))), "");
}

}  // namespace
}  // namespace denoise
