// Generations that are paused and continued, with engines that evaluate as often as they are told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "core/base/error_details.h"
#include "proto/conversion/time_proto.h"
#include "tests/server/rpc/handover_testing.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class PausedGenerationTest : public MovingGenerationTest {
 protected:
  // What the reader of a generation is told that is paused after some evaluations.
  v1::Handover Paused(Replica& replica, const v1::GenerateRequest& request, int evaluations) {
    replica.Generate(request);
    replica.engine().Evaluate(evaluations);
    const auto pause = replica.Pause();
    EXPECT_TRUE(pause.ok()) << pause.status();
    const Received& received = replica.Read();
    return received.events.empty() ? v1::Handover() : received.events.back().handover();
  }
};

TEST_F(PausedGenerationTest, ContinuesWithTheSameBytesAndRepeatsNothing) {
  request_.set_seed(7);
  Replica undisturbed(clock_, Keys('1'));
  undisturbed.Generate(request_);
  undisturbed.engine().Evaluate(3 * kSteps);

  const v1::Handover paused = Paused(first_, request_, kSteps + 2);
  EXPECT_TRUE(paused.paused());
  ASSERT_FALSE(paused.token().empty());
  EXPECT_TRUE(absl::IsAborted(*first_.Read().end)) << *first_.Read().end;
  EXPECT_EQ(GetErrorReason(*first_.Read().end), "GENERATION_PAUSED");

  second_.Generate(Presenting(paused.token()));
  second_.engine().Evaluate(3 * kSteps);
  EXPECT_EQ(second_.Read().end, absl::OkStatus());
  std::map<int, std::string> images = first_.Read().Images();
  for (const auto& [index, bytes] : second_.Read().Images()) {
    EXPECT_TRUE(images.emplace(index, bytes).second) << "image " << index << " was sent twice";
  }
  EXPECT_EQ(images, undisturbed.Read().Images());
  EXPECT_EQ(first_.engine().evaluations() + second_.engine().evaluations(),
            undisturbed.engine().evaluations());
}

TEST_F(PausedGenerationTest, ContinuesOnTheSameServerInThePlaceOfThePausedOne) {
  const v1::Handover paused = Paused(first_, request_, 1);
  const std::string name = first_.Read().events.front().accepted().generation();
  EXPECT_EQ(first_.Get(name)->state(), v1::Generation::PAUSED);
  first_.Generate(Presenting(paused.token()));
  EXPECT_EQ(first_.Read().events.front().accepted().generation(), name);
  EXPECT_EQ(first_.Get(name)->state(), v1::Generation::QUEUED);
  first_.engine().Evaluate(3 * kSteps);
  EXPECT_EQ(first_.Read().end, absl::OkStatus());
  EXPECT_EQ(first_.engine().evaluations(), 3 * kSteps);
}

TEST_F(PausedGenerationTest, CanBePausedAgain) {
  const v1::Handover first = Paused(first_, request_, 1);
  const v1::Handover second = Paused(second_, Presenting(first.token()), 1);
  third_.Generate(Presenting(second.token()));
  EXPECT_EQ(third_.Read().events.front().accepted().evaluations_done(), 2);
}

TEST_F(PausedGenerationTest, AnOlderTokenGetsTheNewerPauseAndRepeatsNothing) {
  const v1::Handover older = Paused(first_, request_, 1);
  Paused(first_, Presenting(older.token()), kSteps);
  const std::string name = first_.Read().events.front().accepted().generation();
  const std::map<int, std::string> images = first_.Read().Images();
  ASSERT_THAT(images, SizeIs(1));

  first_.Generate(Presenting(older.token()));
  EXPECT_EQ(first_.Get(name)->state(), v1::Generation::PAUSED);
  ASSERT_TRUE(first_.Read().end);
  EXPECT_EQ(first_.Read().Images(), images) << "which whoever has the older token lacks";
  EXPECT_EQ(GetErrorReason(*first_.Read().end), "GENERATION_PAUSED");
  const v1::Handover newest = first_.Read().events.back().handover();
  EXPECT_TRUE(newest.paused());
  first_.Generate(Presenting(newest.token()));
  EXPECT_EQ(first_.Read().events.front().accepted().evaluations_done(), kSteps + 1);
}

TEST_F(PausedGenerationTest, ANewerTokenOfAnotherServerReplacesThePauseThatIsHeld) {
  const v1::Handover older = Paused(first_, request_, 1);
  const v1::Handover newer = Paused(second_, Presenting(older.token()), 2);
  first_.Generate(Presenting(newer.token()));
  EXPECT_EQ(first_.Read().events.front().accepted().evaluations_done(), 3);
  EXPECT_FALSE(first_.Read().end) << "it runs";
}

TEST_F(PausedGenerationTest, TheSameRequestAgainGetsThePauseAndItsToken) {
  request_.set_request_id("zoo");
  Paused(first_, request_, 2);
  first_.Generate(request_);
  EXPECT_EQ(first_.Get("generations/zoo")->state(), v1::Generation::PAUSED);
  ASSERT_TRUE(first_.Read().end);
  EXPECT_EQ(GetErrorReason(*first_.Read().end), "GENERATION_PAUSED");
  second_.Generate(Presenting(first_.Read().Token()));
  EXPECT_EQ(second_.Read().events.front().accepted().evaluations_done(), 2);
}

TEST_F(PausedGenerationTest, ATokenDoesNotJoinAGenerationThatHasBegunAgain) {
  request_.set_request_id("zoo");
  request_.clear_seed();
  const v1::Handover paused = Paused(first_, request_, 2);
  second_.Generate(request_);  // with a seed of its own
  const absl::Status status = RefusalOf(second_, Presenting(paused.token()));
  EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
  EXPECT_EQ(GetErrorReason(status), "REQUEST_ID_IN_USE");
}

// Servers share no memory of the tokens that they have seen.
TEST_F(PausedGenerationTest, ATokenThatIsPresentedTwiceContinuesTwiceOnTwoServers) {
  const v1::Handover paused = Paused(first_, request_, kSteps);
  for (Replica* replica : {&second_, &third_}) {
    replica->Generate(Presenting(paused.token()));
    replica->engine().Evaluate(3 * kSteps);
    EXPECT_EQ(replica->Read().end, absl::OkStatus());
  }
  EXPECT_EQ(second_.Read().Images(), third_.Read().Images());
}

TEST_F(PausedGenerationTest, EveryReaderGetsTheToken) {
  Paused(first_, request_, 1);
  const Received watched = first_.Watch();
  second_.Generate(Presenting(watched.Token()));
  EXPECT_EQ(second_.Read().events.front().accepted().evaluations_done(), 1);
  EXPECT_TRUE(absl::IsAborted(*watched.end));
}

TEST_F(PausedGenerationTest, EveryTokenLeadsBackToTheCallThatBeganTheGeneration) {
  Paused(first_, request_, 1);
  const std::string origin = first_.record().trace_id();
  const std::string of_watcher = first_.Watch().Token();
  ASSERT_NE(first_.record().trace_id(), origin) << "the watcher has a trace of its own";

  second_.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const v1::Handover again = Paused(second_, Presenting(of_watcher), 1);
  const auto line = second_.LogLine();
  EXPECT_EQ(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736") << "as its caller says";
  EXPECT_EQ(line["origin_trace_id"], origin);

  third_.Generate(Presenting(again.token()));
  EXPECT_EQ(third_.record().trace_id(), origin) << "for a caller who sends none";
}

TEST_F(PausedGenerationTest, IsKeptWithoutAReaderAndItsTokenCanBeAskedForAgain) {
  Paused(first_, request_, 1);
  const std::string name = first_.Read().events.front().accepted().generation();
  first_.Leave();
  EXPECT_EQ(first_.Get(name)->state(), v1::Generation::PAUSED);
  EXPECT_TRUE(first_.Get(name)->has_expire_time());
  EXPECT_TRUE(first_.Pause().ok());
  EXPECT_FALSE(first_.Watch().Token().empty());
  clock_.Advance(absl::Hours(7 * 24) - absl::Minutes(1));
  const auto asked_again = first_.Pause();
  ASSERT_TRUE(asked_again.ok()) << "a lost answer loses no work while its token would be good";
  EXPECT_FALSE(first_.Watch().Token().empty());
  clock_.Advance(absl::Minutes(1));
  EXPECT_TRUE(absl::IsNotFound(first_.Pause().status()));
}

TEST_F(PausedGenerationTest, IsKeptAsLongAsItsTokenIsGood) {
  const v1::Handover paused = Paused(first_, request_, 1);
  const std::string name = first_.Read().events.front().accepted().generation();
  EXPECT_EQ(first_.Get(name)->expire_time().seconds(), paused.expire_time().seconds());
}

TEST_F(PausedGenerationTest, ItsTokenLivesForDaysAndSaysUntilWhen) {
  const absl::Time now = clock_.Now();
  const v1::Handover paused = Paused(first_, request_, 1);
  EXPECT_EQ(paused.expire_time().seconds(), ToProto(now + absl::Hours(7 * 24)).seconds());
  clock_.Advance(absl::Hours(7 * 24) - absl::Minutes(1));
  EXPECT_EQ(RefusalOf(second_, Presenting(paused.token())), absl::OkStatus());
  clock_.Advance(absl::Minutes(2));
  const absl::Status status = RefusalOf(third_, Presenting(paused.token()));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(GetErrorReason(status), "HANDOVER_EXPIRED");
  EXPECT_THAT(std::string(status.message()), HasSubstr("expired at"));
}

// The engine that drains has asked before the pause came, or the other way round.
TEST_F(PausedGenerationTest, APauseDuringADrainIsAPause) {
  first_.Generate(request_);
  first_.engine().Evaluate(1);
  first_.engine().on_pause = [&] { first_.engine().Drain(); };
  ASSERT_TRUE(first_.Pause().ok());
  EXPECT_TRUE(first_.Read().events.back().handover().paused());
  EXPECT_TRUE(absl::IsAborted(*first_.Read().end)) << *first_.Read().end;
}

// --- Refusals

TEST_F(PausedGenerationTest, OnlyWhatWasStartedWithRoomForAHandoverCanBePaused) {
  request_.clear_accept_handover();
  first_.Generate(request_);
  const absl::Status status = first_.Pause().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(GetErrorReason(status), "PAUSE_UNAVAILABLE");
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("Let it finish or cancel it, and set accept_handover"));
  first_.engine().Evaluate(3 * kSteps);
  EXPECT_EQ(first_.Read().end, absl::OkStatus()) << "it runs as if nothing had been asked";
}

TEST_F(PausedGenerationTest, AServerWithoutAKeyPausesNothing) {
  Replica keyless(clock_, {});
  keyless.Generate(request_);
  EXPECT_THAT(std::string(keyless.Pause().status().message()),
              HasSubstr("Let it finish or cancel it, and start the server with --handover-key"));
}

TEST_F(PausedGenerationTest, AnotherTenantsIsNotFound) {
  first_.Generate(request_);
  const absl::Status status = first_.Pause({.tenant = "acme"}).status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_EQ(GetErrorReason(status), "GENERATION_NOT_FOUND");
  EXPECT_THAT(first_.Read().Token(), IsEmpty());
}

TEST_F(PausedGenerationTest,
       WhatHasEndedCannotBePausedAndWhatIsPausedIsForgottenWhenItIsCancelled) {
  first_.Generate(request_);
  first_.engine().Evaluate(3 * kSteps);
  EXPECT_TRUE(absl::IsFailedPrecondition(first_.Pause().status()));
  Paused(second_, request_, 1);
  EXPECT_TRUE(second_.Cancel().ok());
  EXPECT_TRUE(absl::IsNotFound(second_.Cancel()));
}

}  // namespace
}  // namespace denoise
