#include "core/io/strict_json.h"

#include "tests/core/io/io_testing.h"

namespace denoise {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(StrictJson, ReadsEveryKindOfValue) {
  const char* text = R"({"a": [1, -2, 2.5, true, null, {"b": "ü"}, [], {}], "c": {"a": 0}})";
  const auto json = ParseStrictJson(text);
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(*json, nlohmann::json::parse(text));
  EXPECT_EQ(*ParseStrictJson(" 7 \n"), 7);
}

TEST(StrictJson, RefusesWhatIsNotJson) {
  for (std::string_view text :
       {std::string_view(""), std::string_view("{"), std::string_view("{}}"),
        std::string_view("{} x"), std::string_view("{'a': 1}"), std::string_view("[1,]"),
        std::string_view("// a\n1"), std::string_view("\"\xff\""), std::string_view("{}\0{", 4),
        std::string_view("\0", 1), std::string_view("NaN"), std::string_view("01"),
        std::string_view("\"\x01\"")}) {
    ExpectStatus(ParseStrictJson(text).status(), kInvalid, "not valid JSON at byte");
  }
}

TEST(StrictJson, RefusesAKeyThatIsThereTwice) {
  ExpectStatus(ParseStrictJson(R"({"a": 1, "b": {"c": 1, "c": 1}})").status(), kInvalid,
               "the key \"c\" is there twice");
  // The same key once escaped.
  ExpectStatus(ParseStrictJson(R"({"a": 1, "\u0061": 2})").status(), kInvalid,
               "the key \"a\" is there twice");
}

TEST(StrictJson, BoundsDepthAndNumberOfValues) {
  EXPECT_TRUE(ParseStrictJson("[[1]]", {.max_depth = 2}).ok());
  ExpectStatus(ParseStrictJson("[[[1]]]", {.max_depth = 2}).status(), kInvalid,
               "nested deeper than 2");
  ExpectStatus(ParseStrictJson(std::string(10'000'000, '[')).status(), kInvalid, "nested deeper");
  std::string deep;
  for (int i = 0; i < 1'000'000; ++i) deep += "{\"a\":";
  ExpectStatus(ParseStrictJson(deep).status(), kInvalid, "nested deeper");
  EXPECT_TRUE(ParseStrictJson("[1, 2]", {.max_values = 3}).ok());
  ExpectStatus(ParseStrictJson("[1, 2, 3]", {.max_values = 3}).status(), kInvalid,
               "more than 3 values");
}

TEST(StrictJson, QuotedNamesAreHarmless) {
  EXPECT_EQ(Quoted("conv.weight"), "\"conv.weight\"");
  EXPECT_EQ(Quoted("a\x1b[31m\"\n"), "\"a\\x1b[31m\\\"\\n\"");
  EXPECT_EQ(Quoted(std::string(200, 'a')), "\"" + std::string(100, 'a') + "\"...");
}

}  // namespace
}  // namespace denoise
