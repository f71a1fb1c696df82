#include "server/requests/field_checks.h"

#include <gtest/gtest.h>

#include <string>

namespace denoise {
namespace {

TEST(FieldChecks, ARequestIdIsAResourceIdOfAtMost64Characters) {
  for (const std::string& id : {std::string("a"), std::string("7.b_C-d"), std::string(64, 'x')}) {
    EXPECT_TRUE(IsValidRequestId(id)) << id;
  }
  for (const std::string& id : {std::string(), std::string(".a"), std::string("a/b"),
                                std::string("\xc3\xa4"), std::string(65, 'x')}) {
    EXPECT_FALSE(IsValidRequestId(id)) << id;
  }
}

}  // namespace
}  // namespace denoise
