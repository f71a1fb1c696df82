#include "server/identity/json_web_token.h"

#include "tests/fuzz/fuzz_target.h"

namespace denoise {
namespace {

// Of RFC 8037, appendix A.2.
constexpr char kKeys[] = R"({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})";

}  // namespace

// The bytes are a token, and at the same time a file of keys. Nobody can sign by trying.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* const keys = new JsonWebKeys(*JsonWebKeys::Parse(kKeys));
  const std::string_view text = AsText(data, size);
  const auto identity = ReadJsonWebToken(text, *keys, {.issuer = "i", .audience = "a"},
                                         absl::FromUnixSeconds(1'800'000'000));
  Require(absl::IsInvalidArgument(identity.status()), "an unsigned token is INVALID_ARGUMENT");
  const auto parsed = JsonWebKeys::Parse(text);
  Require(parsed.ok() || absl::IsInvalidArgument(parsed.status()),
          "a bad file of keys is INVALID_ARGUMENT");
  return 0;
}

}  // namespace denoise
