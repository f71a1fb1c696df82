#include "core/base/status_macros.h"

#include <gtest/gtest.h>

#include <memory>

namespace denoise {
namespace {

absl::Status Check(const absl::Status& status, int& evaluations, bool& went_on) {
  RETURN_IF_ERROR((++evaluations, status));
  went_on = true;
  return absl::OkStatus();
}

TEST(ReturnIfError, ContinuesWhenOk) {
  int evaluations = 0;
  bool went_on = false;
  EXPECT_TRUE(Check(absl::OkStatus(), evaluations, went_on).ok());
  EXPECT_TRUE(went_on);
  EXPECT_EQ(evaluations, 1);
}

TEST(ReturnIfError, ReturnsTheErrorAsItIs) {
  int evaluations = 0;
  bool went_on = false;
  const absl::Status error = absl::NotFoundError("no such model");
  EXPECT_EQ(Check(error, evaluations, went_on), error);
  EXPECT_FALSE(went_on);
  EXPECT_EQ(evaluations, 1);
}

absl::StatusOr<int> Sum(absl::StatusOr<std::unique_ptr<int>> a,
                        absl::StatusOr<std::unique_ptr<int>> b) {
  ASSIGN_OR_RETURN(const std::unique_ptr<int> first,
                   std::move(a));  // moves out what cannot be copied
  ASSIGN_OR_RETURN(const std::unique_ptr<int> second, std::move(b));
  return *first + *second;
}

TEST(AssignOrReturn, AssignsTheValueOrReturnsTheError) {
  EXPECT_EQ(*Sum(std::make_unique<int>(2), std::make_unique<int>(3)), 5);
  const absl::Status error = absl::DataLossError("gone");
  EXPECT_EQ(Sum(std::make_unique<int>(2), error).status(), error);
  EXPECT_EQ(Sum(error, std::make_unique<int>(3)).status(), error);
}

}  // namespace
}  // namespace denoise
