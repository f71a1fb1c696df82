#include "core/json/strict_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace denoise {
namespace {

constexpr JsonOptions kNonFinite = {.non_finite_numbers = true};

void ExpectRefused(std::string_view text, const JsonOptions& options, const char* message) {
  const absl::Status status = ParseStrictJson(text, options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text.substr(0, 80);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(message)) << text.substr(0, 80);
}

TEST(StrictJson, ReadsEveryKindOfValue) {
  const char* text = R"({"a": [1, -2, 2.5, true, null, {"b": "ü"}, [], {}], "c": {"a": 0}})";
  const auto json = ParseStrictJson(text);
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(*json, nlohmann::json::parse(text));
  EXPECT_EQ(*ParseStrictJson(" 7 \n"), 7);
}

TEST(StrictJson, RefusesWhatIsNotJson) {
  for (std::string_view text : {std::string_view(""),
                                std::string_view(" "),
                                std::string_view("{"),
                                std::string_view("{}}"),
                                std::string_view("{} x"),
                                std::string_view("{'a': 1}"),
                                std::string_view("[1,]"),
                                std::string_view(R"({"a": 1,})"),
                                std::string_view(R"({"a": 1 "b": 2})"),
                                std::string_view(R"({"a": })"),
                                std::string_view(R"(["unterminated)"),
                                std::string_view(R"(["\)"),
                                std::string_view(R"(["\ud800"])"),
                                std::string_view("// a\n1"),
                                std::string_view("\"\xff\""),
                                std::string_view("{}\0{", 4),
                                std::string_view("\0", 1),
                                std::string_view("01"),
                                std::string_view("0x10"),
                                std::string_view("1e999"),
                                std::string_view("\"\x01\"")}) {
    ExpectRefused(text, {}, "not valid JSON at byte");
    ExpectRefused(text, kNonFinite, "not valid JSON at byte");
  }
}

TEST(StrictJson, RefusesDuplicateKeys) {
  ExpectRefused(R"({"a": 1, "b": {"c": 1, "c": 1}})", {}, "the key \"c\" is there twice");
  // The same key once escaped.
  ExpectRefused(R"({"a": 1, "\u0061": 2})", {}, "the key \"a\" is there twice");
}

TEST(StrictJson, BoundsSizeDepthAndNumberOfValues) {
  EXPECT_TRUE(ParseStrictJson("[ 1 ]", {.max_bytes = 5}).ok());
  ExpectRefused("[ 1  ]", {.max_bytes = 5}, "longer than 5 bytes");
  EXPECT_TRUE(ParseStrictJson("[[1]]", {.max_depth = 2}).ok());
  ExpectRefused("[[[1]]]", {.max_depth = 2}, "nested deeper than 2");
  const JsonOptions large = {.max_bytes = 10'000'000};
  ExpectRefused(std::string(10'000'000, '['), large, "nested deeper");
  std::string deep;
  for (int i = 0; i < 1'000'000; ++i) deep += "{\"a\":";
  ExpectRefused(deep, large, "nested deeper");
  EXPECT_TRUE(ParseStrictJson("[1, 2]", {.max_values = 3}).ok());
  ExpectRefused("[1, 2, 3]", {.max_values = 3}, "more than 3 values");
}

TEST(StrictJson, RefusesOtherValuesWhereAnObjectIsNeeded) {
  EXPECT_EQ(*ParseStrictJsonObject(R"({"a": 1})"), nlohmann::json({{"a", 1}}));
  for (const char* text : {"[]", "[{}]", "1", "null", "\"text\""}) {
    EXPECT_EQ(ParseStrictJsonObject(text).status(),
              absl::InvalidArgumentError("not a JSON object"));
  }
}

TEST(StrictJson, ReadsPythonsNonFiniteNumbersWhereAsked) {
  const auto json =
      ParseStrictJson(R"({"a": -Infinity, "b": [Infinity, 1, NaN], "c": 2})", kNonFinite);
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->at("a"), -HUGE_VAL);
  EXPECT_EQ(json->at("b")[0], HUGE_VAL);
  EXPECT_EQ(json->at("b")[1], 1);
  EXPECT_TRUE(std::isnan(json->at("b")[2].get<double>()));
  EXPECT_EQ(json->at("c"), 2);
  EXPECT_EQ(*ParseStrictJson("Infinity", kNonFinite), HUGE_VAL);
  for (const char* text : {"NaN", "[Infinity]", R"({"a": -Infinity})"}) {
    ExpectRefused(text, {}, "not valid JSON at byte");
  }
}

// What stands for a word within the parser ("a" for NaN) is a string where the text has it.
TEST(StrictJson, StringsAreNeverMistakenForNonFiniteNumbers) {
  const char* text =
      R"({"NaN": "NaN", "a": "Infinity", "nfinit": ["\"NaN", "a", "\\"], "Infinity": "nfinit"})";
  const auto json = ParseStrictJson(text, kNonFinite);
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(*json, nlohmann::json::parse(text));
}

TEST(StrictJson, NonFiniteNumbersAreAllowedWhereNumbersAre) {
  for (const char* text : {"--Infinity", "InfinityNaN", "1NaN", "NaN1", "+Infinity", "nan", "Nan",
                           "Infinit", "- Infinity", R"("a"NaN)", R"(NaN"a")"}) {
    ExpectRefused(text, kNonFinite, "not valid JSON at byte");
  }
  ExpectRefused(R"({NaN: 1})", kNonFinite, "a key is not a string");
  // Places are those of the text as it came.
  ExpectRefused("[-Infinity, NaN, x]", kNonFinite, "not valid JSON at byte 18");
}

TEST(StrictJson, SurvivesEveryTruncationAndEveryChangedByte) {
  const std::string text =
      R"({"_class_name": "DDIMScheduler", "betas": [0.1, 2e-3], "x": -Infinity, "y": null})";
  ASSERT_TRUE(ParseStrictJson(text, kNonFinite).ok());
  for (size_t i = 0; i < text.size(); ++i) {
    EXPECT_FALSE(ParseStrictJson(text.substr(0, i), kNonFinite).ok()) << i;
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = text;
      changed[i] = static_cast<char>(byte);
      (void)ParseStrictJson(changed, kNonFinite).ok();
    }
  }
}

}  // namespace
}  // namespace denoise
