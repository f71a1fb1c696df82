#include "core/base/paging.h"

#include <gtest/gtest.h>

#include <string>

#include "core/base/field_violations.h"

namespace denoise {
namespace {

TEST(Paging, ZeroIsTheDefaultAndLargeSizesAreCut) {
  EXPECT_EQ(*PageSize(0), 100);
  EXPECT_EQ(*PageSize(7), 7);
  EXPECT_EQ(*PageSize(100000), 1000);
  ASSERT_EQ(GetFieldViolations(PageSize(-1).status()).size(), 1u);
  EXPECT_EQ(GetFieldViolations(PageSize(-1).status())[0].field, "page_size");
}

TEST(Paging, ATokenContainsItsEntry) {
  EXPECT_EQ(*ParsePageToken("models", PageTokenAfter("models", "models/emoji-32")),
            "models/emoji-32");
  EXPECT_EQ(*ParsePageToken("models", ""), "");
}

TEST(Paging, RefusesInvalidTokens) {
  const std::string of_another_list = PageTokenAfter("models", "7");
  for (const std::string& token :
       {std::string("made up"), std::string("bWFkZSB1cA"), std::string("!"), of_another_list}) {
    const absl::Status status = ParsePageToken("datasets", token).status();
    ASSERT_EQ(GetFieldViolations(status).size(), 1u) << token;
    EXPECT_EQ(GetFieldViolations(status)[0].field, "page_token");
  }
}

}  // namespace
}  // namespace denoise
