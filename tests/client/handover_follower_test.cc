#include "client/handover_follower.h"

#include <gtest/gtest.h>

#include <string>

namespace denoise {
namespace {

namespace v1 = denoised::v1;

v1::GenerateEvent Event(int64_t sequence) {
  v1::GenerateEvent event;
  event.set_sequence(sequence);
  return event;
}

v1::GenerateEvent Accepted(int64_t sequence) {
  v1::GenerateEvent event = Event(sequence);
  event.mutable_accepted();
  return event;
}

v1::GenerateEvent Progress(int64_t sequence) {
  v1::GenerateEvent event = Event(sequence);
  event.mutable_progress();
  return event;
}

v1::GenerateEvent Image(int64_t sequence, int index) {
  v1::GenerateEvent event = Event(sequence);
  event.mutable_image()->set_image_index(index);
  return event;
}

v1::GenerateEvent Handover(int64_t sequence, const std::string& token) {
  v1::GenerateEvent event = Event(sequence);
  event.mutable_handover()->set_token(token);
  return event;
}

class HandoverFollowerTest : public testing::Test {
 protected:
  // The number that the reader sees; -1 where the event is not news.
  int64_t Take(v1::GenerateEvent event) { return follower_.IsNews(event) ? event.sequence() : -1; }

  HandoverFollower follower_;
  const absl::Status lost_ = absl::UnavailableError("the server is draining");
};

TEST_F(HandoverFollowerTest, PresentsTheLatestToken) {
  EXPECT_EQ(follower_.Continue(lost_), std::nullopt) << "there is none";
  Take(Accepted(0));
  Take(Handover(1, "first"));
  Take(Accepted(2));
  Take(Handover(3, "second"));
  const auto request = follower_.Continue(lost_);
  ASSERT_TRUE(request.has_value());
  v1::GenerateRequest expected;
  expected.set_handover("second");
  EXPECT_EQ(request->SerializeAsString(), expected.SerializeAsString()) << "and nothing else";
}

TEST_F(HandoverFollowerTest, TheReaderSeesThatTheGenerationMovesAndNotItsToken) {
  v1::GenerateEvent event = Handover(1, "token");
  ASSERT_TRUE(follower_.IsNews(event));
  EXPECT_TRUE(event.has_handover());
  EXPECT_EQ(event.handover().token(), "");
}

TEST_F(HandoverFollowerTest, OnlyAServerThatIsUnavailableIsReplaced) {
  Take(Handover(1, "token"));
  for (const absl::Status& end : {absl::OkStatus(), absl::CancelledError("cancelled"),
                                  absl::FailedPreconditionError("expired")}) {
    EXPECT_EQ(follower_.Continue(end), std::nullopt) << end;
  }
  EXPECT_TRUE(follower_.Continue(lost_).has_value());
}

// A server that shuts down cancels a call that arrives too late to be refused.
TEST_F(HandoverFollowerTest, ATokenThatGotNoAnswerIsPresentedAgain) {
  const absl::Status cancelled = absl::CancelledError("cancelled");
  Take(Handover(1, "token"));
  ASSERT_TRUE(follower_.Continue(lost_).has_value());
  EXPECT_TRUE(follower_.Continue(cancelled).has_value());
  Take(Accepted(2));
  EXPECT_EQ(follower_.Continue(cancelled), std::nullopt) << "somebody has cancelled the generation";
}

// Continuing is for whoever wants it, with the token.
TEST_F(HandoverFollowerTest, APauseIsNotFollowed) {
  Take(Handover(1, "of a drain"));
  v1::GenerateEvent paused = Handover(2, "of a pause");
  paused.mutable_handover()->set_paused(true);
  ASSERT_TRUE(follower_.IsNews(paused));
  EXPECT_EQ(paused.handover().token(), "of a pause");
  EXPECT_EQ(follower_.Continue(absl::AbortedError("paused")), std::nullopt);
  EXPECT_EQ(follower_.Continue(lost_), std::nullopt) << "nor if the connection breaks then";
}

TEST_F(HandoverFollowerTest, GivesUpAfterSomeAttemptsForEachHandover) {
  for (int handover = 1; handover <= 2; ++handover) {
    Take(Handover(handover, "token"));
    for (int i = 0; i < HandoverFollower::kMaxAttempts; ++i) {
      EXPECT_TRUE(follower_.Continue(lost_).has_value()) << "attempt " << i;
    }
    EXPECT_EQ(follower_.Continue(lost_), std::nullopt);
  }
}

TEST_F(HandoverFollowerTest, TheStreamIsAcceptedOnce) {
  EXPECT_EQ(Take(Accepted(0)), 0);
  EXPECT_EQ(Take(Handover(1, "token")), 1);
  EXPECT_EQ(Take(Accepted(2)), -1);
  EXPECT_EQ(Take(Progress(3)), 3);
}

// A third server continues from the token, because the second was lost: it makes some images again,
// and counts its events from the token's number.
TEST_F(HandoverFollowerTest, NothingIsSeenTwiceAndNumbersRise) {
  Take(Accepted(0));
  Take(Image(1, 0));
  Take(Handover(2, "token"));
  Take(Progress(4));
  EXPECT_EQ(Take(Image(7, 1)), 7);
  ASSERT_TRUE(follower_.Continue(lost_).has_value());
  EXPECT_EQ(Take(Accepted(3)), -1);
  EXPECT_EQ(Take(Progress(4)), -1) << "older than what was seen";
  EXPECT_EQ(Take(Image(5, 1)), -1);
  EXPECT_EQ(Take(Image(6, 2)), 8);
  v1::GenerateEvent finished = Event(7);
  finished.mutable_finished();
  EXPECT_EQ(Take(finished), 9);
}

}  // namespace
}  // namespace denoise
