#include "core/json/config_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace denoise {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::IsEmpty;
using Null = ConfigReader::Null;

constexpr IntRange kSmall = {1, 10};
constexpr std::pair<std::string_view, int> kWords[] = {{"one", 1}, {"two", 2}};

// The fields that are wrong with `object` after `read`.
template <typename ReadKeys>
std::vector<std::string> Wrong(const json& object, Null null, ReadKeys read) {
  ConfigReader reader(object, null);
  read(reader);
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetFieldViolations(reader.Finish("Class"))) {
    fields.push_back(violation.field);
  }
  return fields;
}

// The target, initially `value`, after reading `text` as key "a", and whether that was a violation.
template <typename T, typename... Limits>
std::pair<T, bool> ReadAs(T value, const char* text, Null null, Limits... limits) {
  const json object = {{"a", json::parse(text)}};
  ConfigReader reader(object, null);
  reader.Read("a", value, limits...);
  return {value, reader.Finish("Class").ok()};
}

TEST(ConfigReader, LeavesTargetsOfAbsentKeysAlone) {
  const json object = json::object();
  bool flag = true;
  int number = 3;
  std::optional<int64_t> optional = 4;
  std::vector<double> list = {5};
  EXPECT_THAT(Wrong(object, Null::kValue,
                    [&](ConfigReader& reader) {
                      reader.Read("a", flag);
                      reader.Read("b", number);
                      reader.Read("c", optional, kSmall);
                      reader.Read("d", list);
                      reader.ReadName("e", kWords, number);
                      EXPECT_EQ(reader.Find("f"), nullptr);
                    }),
              IsEmpty());
  EXPECT_TRUE(flag);
  EXPECT_EQ(number, 3);
  EXPECT_EQ(optional, 4);
  EXPECT_THAT(list, ElementsAre(5));
}

TEST(ConfigReader, NullMeansAbsentOrIsAValueOfItsOwn) {
  EXPECT_EQ(ReadAs(3, "null", Null::kAbsent), std::pair(3, true));
  EXPECT_EQ(ReadAs(3, "null", Null::kValue), std::pair(3, false));
  const std::optional<int64_t> four = 4, none;
  EXPECT_EQ(ReadAs(four, "null", Null::kAbsent, kSmall), std::pair(four, true));
  EXPECT_EQ(ReadAs(four, "null", Null::kValue, kSmall), std::pair(none, true));

  const json object = {{"a", nullptr}};
  int word = 7;
  EXPECT_THAT(Wrong(object, Null::kAbsent, [&](auto& r) { r.ReadName("a", kWords, word, 1); }),
              IsEmpty());
  EXPECT_EQ(word, 7);
  EXPECT_THAT(Wrong(object, Null::kValue, [&](auto& r) { r.ReadName("a", kWords, word); }),
              ElementsAre("a"));
  EXPECT_EQ(word, 7);
  EXPECT_THAT(Wrong(object, Null::kValue, [&](auto& r) { r.ReadName("a", kWords, word, 1); }),
              IsEmpty());
  EXPECT_EQ(word, 1);
}

TEST(ConfigReader, ReadsWholeNumbersHoweverTheyAreWritten) {
  for (const char* text : {"5", "5.0", "50e-1", "5e0"}) {
    EXPECT_EQ(ReadAs(int64_t{0}, text, Null::kValue, kSmall), std::pair(int64_t{5}, true)) << text;
  }
  for (const char* text : {"0", "11", "5.5", "-5", "true", "\"5\"", "[5]", "1e300", "-1e300",
                           "18446744073709551615", "9223372036854775808"}) {
    EXPECT_EQ(ReadAs(int64_t{7}, text, Null::kValue, kSmall), std::pair(int64_t{7}, false)) << text;
  }
  EXPECT_EQ(ReadAs(0, "-2147483647", Null::kValue), std::pair(-2147483647, true));
  EXPECT_EQ(ReadAs(0, "2147483648", Null::kValue), std::pair(0, false));
  const json nan = {{"a", std::numeric_limits<double>::quiet_NaN()}};
  int number = 7;
  EXPECT_THAT(Wrong(nan, Null::kValue, [&](auto& r) { r.Read("a", number); }), ElementsAre("a"));
  EXPECT_EQ(number, 7);
}

TEST(ConfigReader, RefusesOtherTypes) {
  EXPECT_EQ(ReadAs(false, "true", Null::kValue), std::pair(true, true));
  EXPECT_EQ(ReadAs(false, "1", Null::kValue), std::pair(false, false));
  EXPECT_EQ(ReadAs(true, "null", Null::kValue), std::pair(true, false));
  EXPECT_EQ(ReadAs(true, "null", Null::kValue, /*null_means=*/false), std::pair(false, true));
  EXPECT_EQ(ReadAs(true, "0", Null::kValue, /*null_means=*/false), std::pair(true, false));
  EXPECT_EQ(ReadAs(1.5, "-2", Null::kValue), std::pair(-2.0, true));
  EXPECT_EQ(ReadAs(1.5, "null", Null::kValue, /*null_means=*/0.0), std::pair(0.0, true));
  EXPECT_EQ(ReadAs(1.5, "-2", Null::kValue, /*null_means=*/0.0), std::pair(-2.0, true));
  EXPECT_EQ(ReadAs(1.5, "\"2\"", Null::kValue), std::pair(1.5, false));
  EXPECT_EQ(ReadAs(std::string("x"), "\"y\"", Null::kValue), std::pair(std::string("y"), true));
  EXPECT_EQ(ReadAs(std::string("x"), "[\"y\"]", Null::kValue), std::pair(std::string("x"), false));
}

TEST(ConfigReader, ListsAreAcceptedCompletelyOrNotAtAll) {
  using Doubles = std::vector<double>;
  using Ints = std::vector<int>;
  using Longs = std::vector<int64_t>;
  EXPECT_EQ(ReadAs(Doubles{9}, "[1, 2.5]", Null::kValue), std::pair(Doubles({1, 2.5}), true));
  EXPECT_EQ(ReadAs(Doubles{9}, "[]", Null::kValue), std::pair(Doubles(), true));
  EXPECT_EQ(ReadAs(Ints{9}, "[1, -2]", Null::kValue), std::pair(Ints({1, -2}), true));
  EXPECT_EQ(ReadAs(Longs{9}, "[1, 2]", Null::kValue, size_t{2}, kSmall),
            std::pair(Longs({1, 2}), true));
  for (const char* text : {"1", "[1, \"2\"]", "[1, null]", "[[1]]", "{}"}) {
    EXPECT_EQ(ReadAs(Doubles{9}, text, Null::kValue), std::pair(Doubles{9}, false)) << text;
    EXPECT_EQ(ReadAs(Ints{9}, text, Null::kValue), std::pair(Ints{9}, false)) << text;
  }
  EXPECT_EQ(ReadAs(Ints{9}, "[0.5]", Null::kValue), std::pair(Ints{9}, false));
  for (const char* text : {"[]", "[1, 2, 3]", "[1, 11]", "5"}) {
    EXPECT_EQ(ReadAs(Longs{9}, text, Null::kValue, size_t{2}, kSmall), std::pair(Longs{9}, false))
        << text;
  }
}

TEST(ConfigReader, AcceptsOnlyNamesInTheTable) {
  const json object = {{"a", "two"}, {"b", "three\n"}, {"c", 1}};
  ConfigReader reader(object, Null::kValue);
  int a = 0, b = 7, c = 7;
  reader.ReadName("a", kWords, a);
  reader.ReadName("b", kWords, b);
  reader.ReadName("c", kWords, c);
  EXPECT_EQ(a, 2);
  EXPECT_EQ(b, 7);
  EXPECT_EQ(c, 7);
  EXPECT_THAT(GetFieldViolations(reader.Finish("Class")),
              ElementsAre(FieldViolation{"b", "must be one of one, two; is \"three\\n\""},
                          FieldViolation{"c", "must be one of one, two"}));
}

TEST(ConfigReader, ListsOfNamesKeepTheirLength) {
  const json object = {{"a", {"one", "three", 2, "two"}}, {"b", json::array()}};
  std::vector<int> a, b = {9};
  EXPECT_THAT(Wrong(object, Null::kValue,
                    [&](ConfigReader& reader) {
                      reader.ReadNames("a", kWords, 4, a);
                      reader.ReadNames("b", kWords, 4, b);
                    }),
              ElementsAre("a[1]", "a[2]", "b"));
  EXPECT_THAT(a, ElementsAre(1, 0, 0, 2));
  EXPECT_THAT(b, ElementsAre(9));
  EXPECT_THAT(Wrong(object, Null::kValue,
                    [&](ConfigReader& reader) {
                      reader.ReadNames("a", kWords, 3, a);
                      reader.Find("b");
                    }),
              ElementsAre("a"));
}

TEST(ConfigReader, RefusesUnknownKeys) {
  const json object = {{"_note", {1}}, {"", 1}, {"a\x1b", 1}, {"b", nullptr}, {"c", 1}};
  const auto finish = [&](Null null) {
    ConfigReader reader(object, null);
    reader.Find("c");
    return GetFieldViolations(reader.Finish("Class"));
  };
  const FieldViolation empty = {"", "is not a key of Class"};
  const FieldViolation escaped = {"a\\x1b", "is not a key of Class"};
  EXPECT_THAT(finish(Null::kAbsent), ElementsAre(empty, escaped));
  EXPECT_THAT(finish(Null::kValue),
              ElementsAre(empty, escaped, FieldViolation{"b", "is not a key of Class"}));
}

TEST(ConfigReader, NamesTheKeysThatNobodyAskedFor) {
  const json object = {{"_note", 1}, {"a\x1b", 1}, {"b", nullptr}, {"c", 1}, {"d", {{"e", 1}}}};
  ConfigReader reader(object, Null::kAbsent);
  reader.Find("c");
  EXPECT_TRUE(reader.Has("d"));
  EXPECT_FALSE(reader.Has("b"));
  EXPECT_THAT(reader.UnknownKeys(), ElementsAre("a\\x1b", "d"));

  json many;
  for (int i = 0; i < 100; ++i) many["key" + std::to_string(100 + i)] = i;
  const std::vector<std::string> keys = ConfigReader(many, Null::kValue).UnknownKeys();
  ASSERT_EQ(keys.size(), 21u);
  EXPECT_EQ(keys.front(), "key100");
  EXPECT_EQ(keys.back(), "and 80 more");
}

TEST(ConfigReader, ReportsABoundedNumberOfViolations) {
  json object;
  for (int i = 0; i < 1000; ++i) object["key" + std::to_string(i)] = i;
  EXPECT_THAT(Wrong(object, Null::kValue, [](ConfigReader&) {}), testing::SizeIs(20));
}

}  // namespace
}  // namespace denoise
