#include "server/rpc/handover_wait.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <utility>

#include "tests/server/generations/generations_testing.h"

namespace denoise {
namespace {

using Outcome = absl::StatusOr<HandoverWait::Outcome>;

class HandoverWaitTest : public GenerationsFixture {
 protected:
  HandoverWaitTest() {
    Request request = Named("a");
    request.set_accept_handover(true);
    generating_ = *Generate(request);
  }

  // Waits for a pause of the generation.
  void Begin(HandoverWait::OnOver on_over) {
    wait_ = std::make_shared<HandoverWait>(&pool_, std::move(on_over));
    denoised::v1::PauseGenerationRequest request;
    request.set_name("generations/a");
    Caller caller = MakeCaller();
    caller.wake = [wait = wait_] { wait->Wake(); };
    wait_->Begin(*generations_.Pause(request, caller));
  }

  std::unique_ptr<Generations::Reader> generating_;
  std::shared_ptr<HandoverWait> wait_;
  WorkPool pool_{1};
};

TEST_F(HandoverWaitTest, EndsWithTheHandover) {
  std::promise<Outcome> over;
  Begin([&](Outcome outcome) { over.set_value(std::move(outcome)); });
  sink().OnImage(Image(0));
  sink().OnHandover({});
  sink().OnFinished(PausedError());
  const Outcome outcome = over.get_future().get();
  ASSERT_TRUE(outcome.ok() && outcome->handover);
  EXPECT_TRUE(std::get<GenerationLog::Handover>(outcome->handover->what).paused);
  EXPECT_FALSE(wait_->GiveUp()) << "it is over";
}

TEST_F(HandoverWaitTest, EndsWithNoneWhereTheGenerationWasFaster) {
  std::promise<Outcome> over;
  Begin([&](Outcome outcome) { over.set_value(std::move(outcome)); });
  sink().OnFinished(absl::OkStatus());
  const Outcome outcome = over.get_future().get();
  ASSERT_TRUE(outcome.ok());
  EXPECT_FALSE(outcome->handover);
  EXPECT_NE(outcome->reader, nullptr);
}

TEST_F(HandoverWaitTest, SaysNothingOnceItWasGivenUp) {
  Begin([](const Outcome&) { ADD_FAILURE() << "nobody waits"; });
  EXPECT_TRUE(wait_->GiveUp());
  EXPECT_EQ(Get("a")->readers(), 1) << "it has left the generation";
  EXPECT_FALSE(wait_->GiveUp());
  sink().OnHandover({});
  sink().OnFinished(PausedError());
  wait_->Wake();
  std::promise<void> looked;
  pool_.Schedule([&] { looked.set_value(); });
  looked.get_future().wait();
}

// Sealing a large state takes a while, and gRPC's thread must not wait for it.
TEST_F(HandoverWaitTest, GivingUpDoesNotWaitForWhatIsMadeOfTheOutcome) {
  constexpr auto kPatience = std::chrono::seconds(60);
  std::promise<bool> returned;
  Begin([&](const Outcome&) {
    std::future<bool> gives_up = std::async(std::launch::async, [&] { return wait_->GiveUp(); });
    returned.set_value(gives_up.wait_for(kPatience) == std::future_status::ready);
  });
  sink().OnHandover({});
  sink().OnFinished(PausedError());
  EXPECT_TRUE(returned.get_future().get());
}

}  // namespace
}  // namespace denoise
