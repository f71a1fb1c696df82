// Generations that move between servers, each with an engine that evaluates as often as it is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/retry.h"
#include "tests/server/rpc/handover_testing.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

using HandoverTest = MovingGenerationTest;

TEST_F(HandoverTest, AGenerationThatMovesTwiceHasTheSameBytesAndRepeatsNothing) {
  request_.set_seed(7);
  Replica undisturbed(clock_, Keys('1'));
  undisturbed.Generate(request_);
  undisturbed.engine().Evaluate(3 * kSteps);

  const std::string token = HandedOver(kSteps + 2);
  ASSERT_FALSE(token.empty());
  EXPECT_TRUE(absl::IsUnavailable(*first_.Read().end)) << *first_.Read().end;
  EXPECT_EQ(GetRetryDelay(*first_.Read().end), absl::ZeroDuration());
  second_.Generate(Presenting(token));
  second_.engine().Evaluate(4);
  second_.engine().Drain();
  third_.Generate(Presenting(second_.Read().Token()));
  third_.engine().Evaluate(3 * kSteps);
  EXPECT_EQ(third_.Read().end, absl::OkStatus());

  std::map<int, std::string> images;
  for (Replica* replica : {&first_, &second_, &third_}) {
    for (const auto& [index, bytes] : replica->Read().Images()) {
      EXPECT_TRUE(images.emplace(index, bytes).second) << "image " << index << " was sent twice";
    }
  }
  EXPECT_EQ(images, undisturbed.Read().Images());
  EXPECT_EQ(first_.engine().evaluations() + second_.engine().evaluations() +
                third_.engine().evaluations(),
            undisturbed.engine().evaluations());
}

TEST_F(HandoverTest, TheStreamContinuesItsNumbersNameAndSeed) {
  second_.Generate(Presenting(HandedOver(kSteps + 2)));
  const v1::GenerateEvent& before = first_.Read().events.front();
  const v1::GenerateEvent& after = second_.Read().events.front();
  EXPECT_EQ(after.sequence(), first_.Read().events.back().sequence() + 1);
  EXPECT_EQ(after.accepted().generation(), before.accepted().generation());
  EXPECT_EQ(after.accepted().seed(), before.accepted().seed()) << "which the server chose";
  EXPECT_EQ(before.accepted().evaluations_done(), 0);
  EXPECT_EQ(after.accepted().evaluations_done(), kSteps + 2);
}

TEST_F(HandoverTest, TheTraceContinues) {
  second_.Generate(Presenting(HandedOver(1)));
  second_.Read();
  EXPECT_EQ(second_.record().trace_id(), first_.record().trace_id());
  EXPECT_NE(second_.record().trace().span_id, first_.record().trace().span_id);
}

TEST_F(HandoverTest, NothingThatHasBegunIsAHandoverToo) {
  second_.Generate(Presenting(HandedOver(0)));
  second_.engine().Evaluate(3 * kSteps);
  EXPECT_EQ(second_.Read().end, absl::OkStatus());
  EXPECT_THAT(second_.Read().Images(), SizeIs(3));
}

TEST_F(HandoverTest, ASecondCallWithTheSameTokenJoins) {
  const std::string token = HandedOver(1);
  second_.Generate(Presenting(token));
  const std::string name = second_.Read().events.front().accepted().generation();
  second_.engine().Evaluate(1);
  second_.Generate(Presenting(token));
  EXPECT_EQ(second_.Read().events.front().accepted().generation(), name);
  second_.engine().Evaluate(3 * kSteps);
  EXPECT_EQ(second_.engine().evaluations(), 3 * kSteps - 1) << "not begun again";
}

TEST_F(HandoverTest, ACallThatDoesNotAcceptOneGetsNone) {
  request_.clear_accept_handover();
  EXPECT_EQ(HandedOver(1), "");
}

// A server may still finish it before it stops.
TEST_F(HandoverTest, WhatNobodyReadsIsNotHandedOver) {
  request_.set_on_disconnect(v1::ON_DISCONNECT_DETACH);
  first_.Generate(request_);
  first_.engine().Evaluate(1);
  EXPECT_TRUE(first_.engine().accepts_handover());
  first_.Leave();
  EXPECT_FALSE(first_.engine().accepts_handover());
}

TEST_F(HandoverTest, AWatcherGetsNoToken) {
  first_.Generate(request_);
  first_.engine().Evaluate(1);
  first_.engine().Drain();
  const Received watched = first_.Watch();
  EXPECT_EQ(watched.Token(), "");
  EXPECT_TRUE(absl::IsUnavailable(*watched.end));
}

// --- Refusals

TEST_F(HandoverTest, EveryOtherFieldOfARequestThatPresentsOneIsRefused) {
  v1::GenerateRequest request = Presenting(HandedOver(1));
  request.set_model("models/faces");
  request.set_seed(8);
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetFieldViolations(RefusalOf(second_, request))) {
    fields.push_back(violation.field);
  }
  EXPECT_THAT(fields, UnorderedElementsAre("model", "seed"));
}

TEST_F(HandoverTest, ADamagedTokenAndOneOfAnotherDeploymentAreRefused) {
  const std::string token = HandedOver(1);
  Replica stranger(clock_, Keys('2'));
  const auto expect_refused = [&](Replica& replica, const std::string& presented) {
    const auto violations = GetFieldViolations(RefusalOf(replica, Presenting(presented)));
    ASSERT_THAT(violations, SizeIs(1));
    EXPECT_EQ(violations.front().field, "handover");
  };
  expect_refused(stranger, token);
  expect_refused(second_, token.substr(1));
  expect_refused(second_, "x");
}

TEST_F(HandoverTest, ATokenExpires) {
  const std::string token = HandedOver(1);
  clock_.Advance(absl::Minutes(11));
  const absl::Status status = RefusalOf(second_, Presenting(token));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(GetErrorReason(status), "HANDOVER_EXPIRED");
}

TEST_F(HandoverTest, AnotherVersionOfTheModelDoesNotContinueIt) {
  const std::string token = HandedOver(1);
  const LoadedModelHandle same = UnconditionalModel();
  Model other = *same->model;
  other.version = "89abcdef";
  second_.models().Publish(std::make_shared<LoadedModel>(
      LoadedModel{std::make_shared<Model>(std::move(other)), same->pipelines}));
  const absl::Status status = RefusalOf(second_, Presenting(token));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(GetErrorReason(status), "HANDOVER_UNSUITABLE");
}

TEST_F(HandoverTest, AServerWithoutAKeyTakesNone) {
  Replica keyless(clock_, {});
  const absl::Status status = RefusalOf(keyless, Presenting(HandedOver(1)));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("--handover-key"));
}

}  // namespace
}  // namespace denoise
