#include "server/http/openai/request_body.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"

namespace denoise::openai {
namespace {

using nlohmann::json;

using Fields = std::initializer_list<std::pair<const char*, const char*>>;

// Outlives what is read of it.
std::string FormOf(Fields fields) {
  std::string body;
  for (const auto& [name, value] : fields) {
    absl::StrAppend(&body, "--XX\r\nContent-Disposition: form-data; name=\"", name, "\"\r\n\r\n",
                    value, "\r\n");
  }
  return body + "--XX--\r\n";
}

absl::StatusOr<RequestBody> ReadForm(const std::string& body) {
  return ReadFormBody("multipart/form-data; boundary=XX", body);
}

std::vector<std::string> WrongFields(Fields fields) {
  std::vector<std::string> names;
  for (const auto& violation : GetFieldViolations(ReadForm(FormOf(fields)).status())) {
    names.push_back(violation.field);
  }
  return names;
}

TEST(RequestBody, ReadsJsonStrictly) {
  EXPECT_EQ(ReadJsonBody(R"({"n": 2})")->fields, json({{"n", 2}}));
  for (const char* body : {"", "[]", "{\"n\": 1, \"n\": 2}", "{\"n\": 1} x", "{\"n\": NaN}",
                           "{\"a\": [[[[[[[[[[1]]]]]]]]]]}"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ReadJsonBody(body).status())) << body;
  }
}

TEST(RequestBody, AFormIsTextThatMayStandForMore) {
  const std::string form = FormOf({{"prompt", "42"},
                                   {"model", "1"},
                                   {"class_label", "7"},
                                   {"n", "2"},
                                   {"strength", "0.5"},
                                   {"stream", "true"},
                                   {"size", "32x32"},
                                   {"image", "PNG"},
                                   {"mask", "M"}});
  const auto body = ReadForm(form);
  ASSERT_TRUE(body.ok()) << body.status();
  EXPECT_EQ(body->fields, json({{"prompt", "42"},
                                {"model", "1"},
                                {"class_label", "7"},
                                {"n", 2},
                                {"strength", 0.5},
                                {"stream", true},
                                {"size", "32x32"}}));
  EXPECT_EQ(body->image, "PNG");
  EXPECT_EQ(body->mask, "M");
}

TEST(RequestBody, AMemberMayHaveTheNameOfATextField) {
  EXPECT_EQ(ReadForm(FormOf({{"adapters[model]", "0.5"}}))->fields,
            json({{"adapters", {{"model", 0.5}}}}));
}

TEST(RequestBody, AFormHasNoLists) {
  EXPECT_EQ(WrongFields({{"adapters[][name]", "ink"}, {"adapters[][scale]", "0.5"}}),
            std::vector<std::string>({"adapters", "adapters"}));
}

TEST(RequestBody, AnObjectMayBeOneFieldOrItsMembers) {
  const json adapters = {{"adapters", {{"ink", 0.5}, {"wood", 2}}}};
  EXPECT_EQ(ReadForm(FormOf({{"adapters[ink]", "0.5"}, {"adapters[wood]", "2"}}))->fields,
            adapters);
  EXPECT_EQ(ReadForm(FormOf({{"adapters", R"({"ink": 0.5, "wood": 2})"}}))->fields, adapters);
  EXPECT_EQ(WrongFields({{"adapters", "{}"}, {"adapters[ink]", "1"}}).size(), 0u);
  EXPECT_EQ(WrongFields({{"adapters[ink]", "1"}, {"adapters", "{}"}}),
            (std::vector<std::string>{"adapters"}));
  EXPECT_EQ(WrongFields({{"n", "1"}, {"n[a]", "1"}}), (std::vector<std::string>{"n"}));
}

TEST(RequestBody, NamesEveryFieldOfAFormThatIsWrong) {
  EXPECT_EQ(WrongFields({{"n", "1"}, {"n", "1"}, {"prompt", "\xff"}, {"image", ""}}),
            (std::vector<std::string>{"n", "prompt", "image"}));
  EXPECT_EQ(WrongFields({{"image", "a"}, {"image[]", "b"}}), (std::vector<std::string>{"image"}));
  EXPECT_EQ(WrongFields({{"mask", "a"}, {"mask", "b"}}), (std::vector<std::string>{"mask"}));
}

}  // namespace
}  // namespace denoise::openai
