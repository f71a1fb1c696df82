#include "server/rpc/status_mapping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/retry.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

google::rpc::Status Parse(const WireStatus& wire) {
  google::rpc::Status status;
  EXPECT_TRUE(status.ParseFromString(wire.status.error_details()));
  return status;
}

template <class Detail>
std::optional<Detail> Find(const WireStatus& wire) {
  const google::rpc::Status status = Parse(wire);
  for (const auto& any : status.details()) {
    Detail detail;
    if (any.UnpackTo(&detail)) return detail;
  }
  return std::nullopt;
}

TEST(StatusMapping, OkIsOkWithoutDetails) {
  const WireStatus wire = ToWireStatus(absl::OkStatus(), "id");
  EXPECT_TRUE(wire.status.ok());
  EXPECT_TRUE(wire.status.error_details().empty());
}

TEST(StatusMapping, ListsEveryFieldOfABadRequest) {
  FieldViolations violations;
  violations.Add("sampler.steps", "must be between 1 and 1000, is 0");
  violations.Add("count", "must be at least 1");
  const WireStatus wire = ToWireStatus(violations.ToStatus(), "id");

  EXPECT_EQ(wire.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Parse(wire).code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Parse(wire).message(), wire.status.error_message());
  const auto bad_request = Find<google::rpc::BadRequest>(wire);
  ASSERT_TRUE(bad_request.has_value());
  ASSERT_EQ(bad_request->field_violations_size(), 2);
  EXPECT_EQ(bad_request->field_violations(0).field(), "sampler.steps");
  EXPECT_EQ(bad_request->field_violations(0).description(), "must be between 1 and 1000, is 0");
  EXPECT_EQ(bad_request->field_violations(1).field(), "count");
}

TEST(StatusMapping, EveryErrorSaysWhoseItIsAndWhichRequestItWas) {
  for (const absl::Status& status :
       {absl::InvalidArgumentError("x"), absl::NotFoundError("x"), absl::UnavailableError("x"),
        absl::DeadlineExceededError("x"), absl::CancelledError("x"), absl::InternalError("x")}) {
    const auto info = Find<google::rpc::ErrorInfo>(ToWireStatus(status, "cafe"));
    ASSERT_TRUE(info.has_value()) << status;
    EXPECT_EQ(info->domain(), "denoised");
    EXPECT_FALSE(info->reason().empty());
    EXPECT_EQ(info->metadata().at("request_id"), "cafe");
  }
}

TEST(StatusMapping, ARetryDelayIsInTheDetailsAndInTheTrailer) {
  const WireStatus wire =
      ToWireStatus(UnavailableRetryAfter("the queue is full", absl::Milliseconds(1500)), "id");
  EXPECT_EQ(wire.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(wire.retry_pushback_ms, "1500");
  const auto retry = Find<google::rpc::RetryInfo>(wire);
  ASSERT_TRUE(retry.has_value());
  EXPECT_EQ(retry->retry_delay().seconds(), 1);
  EXPECT_EQ(retry->retry_delay().nanos(), 500'000'000);
}

TEST(StatusMapping, WithoutARetryDelayThereIsNoTrailer) {
  const WireStatus wire = ToWireStatus(absl::UnavailableError("draining"), "id");
  EXPECT_FALSE(wire.retry_pushback_ms.has_value());
  EXPECT_FALSE(Find<google::rpc::RetryInfo>(wire).has_value());
}

TEST(StatusMapping, SaysWhichResourceIsNotFound) {
  const WireStatus wire = ToWireStatus(ResourceNotFound("model", "models/absent"), "id");
  EXPECT_EQ(wire.status.error_code(), grpc::StatusCode::NOT_FOUND);
  const auto resource = Find<google::rpc::ResourceInfo>(wire);
  ASSERT_TRUE(resource.has_value());
  EXPECT_EQ(resource->resource_type(), "model");
  EXPECT_EQ(resource->resource_name(), "models/absent");
}

TEST(StatusMapping, ARefusalWithAReasonIsTold) {
  const WireStatus wire =
      ToWireStatus(WithErrorReason(absl::PermissionDeniedError("not here"), "NOT_HERE"), "cafe");
  EXPECT_EQ(wire.status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(wire.status.error_message(), "not here");
}

TEST(StatusMapping, AFailureInsideSaysNothingOfTheInside) {
  for (const absl::Status& status :
       {absl::InternalError("/srv/secret: cublas"), absl::UnknownError("/srv/secret"),
        absl::PermissionDeniedError("/srv/secret"), absl::OutOfRangeError("/srv/secret")}) {
    const WireStatus wire = ToWireStatus(status, "cafe");
    EXPECT_EQ(wire.status.error_code(), grpc::StatusCode::INTERNAL);
    EXPECT_THAT(wire.status.error_message(), HasSubstr("cafe"));
    EXPECT_THAT(wire.status.error_message(), Not(HasSubstr("secret")));
    EXPECT_THAT(wire.status.error_details(), Not(HasSubstr("secret")));
  }
}

TEST(StatusMapping, WhatACallerCanActOnIsSaid) {
  for (const absl::Status& status :
       {absl::AlreadyExistsError("why"), absl::FailedPreconditionError("why"),
        absl::AbortedError("why"), absl::DataLossError("why")}) {
    const WireStatus wire = ToWireStatus(status, "cafe");
    EXPECT_EQ(static_cast<int>(wire.status.error_code()), static_cast<int>(status.code()));
    EXPECT_EQ(wire.status.error_message(), "why");
  }
}

TEST(StatusMapping, AQuotaAndFactsForAProgramAreInTheDetails) {
  const auto quota =
      Find<google::rpc::QuotaFailure>(ToWireStatus(QuotaExceeded("datasets", "all 2 taken"), "id"));
  ASSERT_TRUE(quota.has_value());
  EXPECT_EQ(quota->violations(0).subject(), "datasets");
  EXPECT_EQ(quota->violations(0).description(), "all 2 taken");
  const auto info = Find<google::rpc::ErrorInfo>(ToWireStatus(
      WithErrorMetadata(absl::FailedPreconditionError("x"), "received_bytes", "3"), "id"));
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->metadata().at("received_bytes"), "3");
}

TEST(StatusMapping, DetailsStaySmallAndTheRestIsCounted) {
  FieldViolations violations;
  for (int i = 0; i < 1000; ++i) {
    violations.Add(absl::StrCat("timesteps[", i, "]"), "must be below the one before");
  }
  const WireStatus wire = ToWireStatus(violations.ToStatus(), "id");
  EXPECT_LE(wire.status.error_details().size(), kMaxStatusDetailsBytes);
  EXPECT_LE(wire.status.error_message().size(), 512u);

  const auto bad_request = Find<google::rpc::BadRequest>(wire);
  ASSERT_TRUE(bad_request.has_value());
  const int listed = bad_request->field_violations_size() - 1;
  EXPECT_GT(listed, 30);
  EXPECT_EQ(bad_request->field_violations(listed).description(),
            absl::StrCat("at least ", 257 - listed, " more violations are not listed"));
}

TEST(StatusMapping, LongTextsAreCutAtACharactersBoundary) {
  std::string long_text;
  for (int i = 0; i < 5000; ++i) long_text += "\u00e9";  // two bytes each
  for (int padding = 0; padding < 2; ++padding) {
    const std::string description = std::string(padding, 'x') + long_text;
    const WireStatus wire = ToWireStatus(InvalidField(description, description), "id");
    EXPECT_LE(wire.status.error_details().size(), kMaxStatusDetailsBytes);
    // Protobuf refuses to parse strings that are not UTF-8.
    const auto bad_request = Find<google::rpc::BadRequest>(wire);
    ASSERT_TRUE(bad_request.has_value());
    EXPECT_THAT(bad_request->field_violations(0).description(), testing::EndsWith("\u00e9..."));
  }
}

TEST(StatusMapping, TheLargestStatusFitsItsBound) {
  FieldViolations violations;
  const std::string endless(10'000, 'x');
  for (int i = 0; i < 100; ++i) violations.Add(endless, endless);
  const WireStatus wire = ToWireStatus(violations.ToStatus(), std::string(16, 'f'));
  EXPECT_LE(wire.status.error_details().size(), kMaxStatusDetailsBytes);
  EXPECT_GT(Find<google::rpc::BadRequest>(wire)->field_violations_size(), 2);
}

}  // namespace
}  // namespace denoise
