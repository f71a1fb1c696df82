#include "core/sampling/flat_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace denoise {
namespace {

double Number(const FlatJson& json, const char* key) {
  return std::get<double>(std::get<JsonScalar>(json.at(key)));
}

TEST(ParseFlatJson, ReadsScalarsAndLists) {
  const absl::StatusOr<FlatJson> json = ParseFlatJson(
      R"({"a": 1, "b": -2.5, "c": true, "d": null, "e": "text", "f": [1, "x"], "g": []})");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->size(), 7u);
  EXPECT_EQ(Number(*json, "a"), 1);
  EXPECT_EQ(Number(*json, "b"), -2.5);
  EXPECT_EQ(std::get<JsonScalar>(json->at("c")), JsonScalar(true));
  EXPECT_EQ(std::get<JsonScalar>(json->at("d")), JsonScalar(nullptr));
  EXPECT_EQ(std::get<JsonScalar>(json->at("e")), JsonScalar("text"));
  EXPECT_EQ(std::get<JsonList>(json->at("f")), (JsonList{1.0, "x"}));
  EXPECT_TRUE(std::get<JsonList>(json->at("g")).empty());
}

TEST(ParseFlatJson, ReadsPythonsNonFiniteNumbers) {
  const absl::StatusOr<FlatJson> json =
      ParseFlatJson(R"({"a": -Infinity, "b": Infinity, "c": NaN, "d": "\"NaN"})");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(Number(*json, "a"), -HUGE_VAL);
  EXPECT_EQ(Number(*json, "b"), HUGE_VAL);
  EXPECT_TRUE(std::isnan(Number(*json, "c")));
  EXPECT_EQ(std::get<JsonScalar>(json->at("d")), JsonScalar("\"NaN"));
}

TEST(ParseFlatJson, RefusesWhatIsNoFlatObject) {
  std::string many_keys = "{";
  for (int i = 0; i < 1001; ++i) many_keys += "\"k" + std::to_string(i) + "\": 0, ";
  std::string long_list = "{\"a\": [0";
  for (int i = 0; i < 200001; ++i) long_list += ",0";
  const std::string bad_texts[] = {
      "",
      " ",
      "{",
      "{}x",
      "[]",
      "[{}]",
      "1",
      "null",
      "\"text\"",
      R"({"a": 1,})",
      R"({"a": 1 "b": 2})",
      R"({'a': 1})",
      R"({"a": })",
      R"({"a": {"b": 1}})",
      R"({"a": [[1]]})",
      R"({"a": [{"b": 1}]})",
      R"({"a": 1, "a": 2})",
      R"({"a": 1, "\u0061": 2})",
      R"({"a": 1e999})",
      R"({"a": --Infinity})",
      R"({"a": InfinityNaN})",
      R"({"a": 01})",
      R"({"a": 0x10})",
      "{\"a\": \"\xff\xfe\"}",
      "{\"a\": \"\x01\"}",
      std::string("{\"a\": 1}\0", 9),
      R"({"a": "unterminated)",
      R"({"a": "\)",
      R"({"a": "\ud800"})",
      many_keys + "\"last\": 0}",
      long_list + "]}",
      std::string(100000, '['),
      std::string(100000, '{'),
      "{\"a\": " + std::string(100000, '['),
      "{\"a\": \"" + std::string((4 << 20) + 1, 'x') + "\"}",
  };
  for (const std::string& text : bad_texts) {
    EXPECT_EQ(ParseFlatJson(text).status().code(), absl::StatusCode::kInvalidArgument)
        << text.substr(0, 80);
  }
}

TEST(ParseFlatJson, SurvivesEveryTruncationAndEveryChangedByte) {
  const std::string text =
      R"({"_class_name": "DDIMScheduler", "betas": [0.1, 2e-3], "x": -Infinity, "y": null})";
  ASSERT_TRUE(ParseFlatJson(text).ok());
  for (size_t i = 0; i < text.size(); ++i) {
    EXPECT_FALSE(ParseFlatJson(text.substr(0, i)).ok()) << i;
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = text;
      changed[i] = static_cast<char>(byte);
      (void)ParseFlatJson(changed).ok();
    }
  }
}

}  // namespace
}  // namespace denoise
