#include "core/base/paging.h"

#include <gtest/gtest.h>

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
  EXPECT_EQ(*ParsePageToken(PageTokenAfter("models/emoji-32")), "models/emoji-32");
  EXPECT_EQ(*ParsePageToken(""), "");
}

TEST(Paging, RefusesInvalidTokens) {
  for (const char* token : {"made up", "bWFkZSB1cA", "!"}) {
    const absl::Status status = ParsePageToken(token).status();
    ASSERT_EQ(GetFieldViolations(status).size(), 1u) << token;
    EXPECT_EQ(GetFieldViolations(status)[0].field, "page_token");
  }
}

}  // namespace
}  // namespace denoise
