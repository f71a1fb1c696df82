#include "core/base/error_details.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(ErrorDetails, AMissingResourceSaysItsTypeAndName) {
  const absl::Status status = ResourceNotFound("model", "models/absent");

  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "no such model: models/absent");
  ASSERT_TRUE(GetResource(status).has_value());
  EXPECT_EQ(GetResource(status)->type, "model");
  EXPECT_EQ(GetResource(status)->name, "models/absent");
  EXPECT_FALSE(GetQuotaViolation(status).has_value());
}

TEST(ErrorDetails, AQuotaSaysWhatIsLimited) {
  const absl::Status status = QuotaExceeded("datasets", "there are 100 data sets");

  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  ASSERT_TRUE(GetQuotaViolation(status).has_value());
  EXPECT_EQ(GetQuotaViolation(status)->subject, "datasets");
  EXPECT_EQ(GetQuotaViolation(status)->description, "there are 100 data sets");
  EXPECT_FALSE(GetResource(status).has_value());
}

TEST(ErrorDetails, MetadataIsKeptByName) {
  const absl::Status status =
      WithErrorMetadata(absl::FailedPreconditionError("elsewhere"), "received_bytes", "512");

  EXPECT_THAT(GetErrorMetadata(status), ElementsAre(Pair("received_bytes", "512")));
  EXPECT_THAT(GetErrorMetadata(QuotaExceeded("a", "b")), IsEmpty());
}

}  // namespace
}  // namespace denoise
