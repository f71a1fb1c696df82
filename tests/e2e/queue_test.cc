// The queue is bounded, and a full one says when to come again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/metric_names.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

using denoised::v1::GenerateEvent;
using denoised::v1::GenerateRequest;
using testing::SizeIs;

constexpr int kQueueSize = 2;

class QueueTest : public testing::Test {
 protected:
  QueueTest() {
    models_.AddGuided();
    server_ = StartServer(models_.path(), {"--queue-size", absl::StrCat(kQueueSize)});
  }

  double QueueDepth() const { return server_->Metrics().Sum(kQueueDepth); }

  // Sends calls that do not end by themselves until the queue is full.
  void FillQueue() {
    GenerateRequest endless = GuidedRequest(/*steps=*/1000);
    endless.set_count(8);
    int waiting = 0;
    while (waiting < kQueueSize) {
      ASSERT_LT(calls_.size(), 64u) << "the queue never fills";
      calls_.push_back(std::make_unique<BackgroundCall>(server_->generation(), endless));
      BackgroundCall& call = *calls_.back();
      ASSERT_TRUE(Eventually([&] { return call.Started() || call.Queued(); }));
      if (call.Queued()) ++waiting;
    }
  }

  ModelsFolder models_;
  std::unique_ptr<ServerProcess> server_;
  std::vector<std::unique_ptr<BackgroundCall>> calls_;
};

TEST_F(QueueTest, AFullQueueIsUnavailableAndSaysWhenToTryAgain) {
  FillQueue();
  const Generation refused = Generate(server_->generation(), GuidedRequest(/*steps=*/1));
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(refused.events, SizeIs(0)) << "refused before anything is streamed";

  const auto retry = DetailsOf<google::rpc::RetryInfo>(refused.status);
  ASSERT_THAT(retry, SizeIs(1));
  const double delay_ms =
      retry[0].retry_delay().seconds() * 1e3 + retry[0].retry_delay().nanos() / 1e6;
  EXPECT_GT(delay_ms, 0);

  const auto pushback = refused.trailers.find("grpc-retry-pushback-ms");
  ASSERT_NE(pushback, refused.trailers.end());
  int64_t pushback_ms = 0;
  ASSERT_TRUE(absl::SimpleAtoi(pushback->second, &pushback_ms)) << pushback->second;
  EXPECT_NEAR(static_cast<double>(pushback_ms), delay_ms, 1);
}

TEST_F(QueueTest, WaitingCallsHearTheirPositionAndStartWhenThereIsRoom) {
  FillQueue();
  BackgroundCall* last = calls_.back().get();
  EXPECT_FALSE(last->Started());
  for (auto& call : calls_) {
    if (call.get() != last) call->Cancel();
  }
  EXPECT_TRUE(Eventually([&] { return last->Started(); }));
  last->Cancel();
  EXPECT_THAT(last->Join().Of(GenerateEvent::kQueued), testing::Not(SizeIs(0)));
  EXPECT_TRUE(Eventually([&] { return QueueDepth() == 0; }));
}

TEST_F(QueueTest, TheClientLibraryTriesAgainAsTheServerSays) {
  FillQueue();
  ClientOptions options;
  options.address = server_->address();
  options.max_attempts = 5;
  Client client(options);
  std::thread make_room([&] {
    // Once the client's first attempt has been refused.
    EXPECT_TRUE(Eventually([&] {
      return server_->Metrics().Sum(kRequests, {{kOutcomeLabel, kOutcomeUnavailable}}) >= 1;
    }));
    for (auto& call : calls_) call->Cancel();
  });
  GenerateStream stream = client.Generate(GuidedRequest(/*steps=*/1), kPatience);
  absl::Status status;
  int images = 0;
  while (true) {
    const auto event = stream.Next();
    status = event.status();
    if (!event.ok() || !event->has_value()) break;
    images += (*event)->has_image();
  }
  make_room.join();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(images, 1);
}

}  // namespace
}  // namespace denoise
