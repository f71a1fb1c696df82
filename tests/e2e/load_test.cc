// How requests share a device: by cost, deadline, priority and tenant.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/metric_names.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using v1::GenerateEvent;
using v1::GenerateRequest;

class LoadTest : public testing::Test {
 protected:
  void Start(const std::vector<std::string>& flags) {
    models_.AddGuided();
    server_ = StartServer(models_.path(), flags);
  }

  // Costs are known once an evaluation has been reported.
  v1::Accepted AcceptedOnceCostsAreKnown() {
    v1::Accepted accepted;
    EXPECT_TRUE(Eventually([&] {
      const Generation done = Generate(server_->generation(), GuidedRequest(/*steps=*/4));
      EXPECT_TRUE(done.status.ok()) << done.status.error_message();
      if (done.events.empty()) return true;
      accepted = done.events.front().accepted();
      return accepted.has_cost();
    }));
    return accepted;
  }

  // What the server tells first of a request, which is cancelled then.
  v1::Accepted AcceptedAndCancelled(const GenerateRequest& request, absl::Duration timeout) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    const auto stream = server_->generation().Generate(&context, request);
    GenerateEvent event;
    const bool was_accepted = stream->Read(&event);
    context.TryCancel();
    const grpc::Status status = stream->Finish();
    EXPECT_TRUE(was_accepted) << status.error_message();
    EXPECT_TRUE(Eventually([&] { return server_->Metrics().Sum(kActiveRows) == 0; }));
    return event.accepted();
  }

  // Calls that do not end by themselves and fill every loop. A slow machine would refuse them if
  // they had to end sooner.
  void Flood(int calls, const GenerateRequest& request) {
    constexpr absl::Duration kTimeout = absl::Hours(1000);
    for (int i = 0; i < calls; ++i) {
      calls_.push_back(std::make_unique<BackgroundCall>(server_->generation(), request, kTimeout));
      BackgroundCall& call = *calls_.back();
      ASSERT_TRUE(Eventually([&] { return call.Started() || call.Queued() || call.Finished(); }));
    }
  }

  static GenerateRequest Endless() {
    GenerateRequest request = GuidedRequest(/*steps=*/1000);
    request.set_count(64);
    return request;
  }

  ModelsFolder models_;
  std::unique_ptr<ServerProcess> server_;
  std::vector<std::unique_ptr<BackgroundCall>> calls_;
};

TEST_F(LoadTest, AcceptedSaysWhatARequestCosts) {
  Start({});
  const v1::Accepted accepted = AcceptedOnceCostsAreKnown();
  EXPECT_GT(accepted.cost().seconds() + accepted.cost().nanos(), 0);
  EXPECT_EQ(accepted.priority(), v1::PRIORITY_NORMAL);
  EXPECT_EQ(accepted.steps_requested(), 0);
}

TEST_F(LoadTest, ADeadlineThatCannotBeMetIsRefusedAtOnceWithTheEstimate) {
  Start({});
  AcceptedOnceCostsAreKnown();
  const Generation refused = Generate(server_->generation(), Endless(), absl::Seconds(1));
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(refused.events, IsEmpty());
  EXPECT_THAT(refused.status.error_message(), HasSubstr("the deadline cannot be met"));
  const auto info = DetailsOf<google::rpc::ErrorInfo>(refused.status);
  ASSERT_THAT(info, SizeIs(1));
  EXPECT_EQ(info[0].reason(), "DEADLINE_TOO_SHORT");
  double seconds = 0;
  EXPECT_TRUE(absl::SimpleAtod(info[0].metadata().at("estimated_seconds"), &seconds));
  EXPECT_GT(seconds, 0.9);
  EXPECT_TRUE(info[0].metadata().contains("fitting_evaluations"));
}

TEST_F(LoadTest, ARequestMayTakeAsManyStepsAsFit) {
  Start({});
  AcceptedOnceCostsAreKnown();
  GenerateRequest request = Endless();
  const v1::Accepted whole = AcceptedAndCancelled(request, absl::Hours(1000));
  const double seconds = static_cast<double>(whole.cost().seconds()) + 1e-9 * whole.cost().nanos();
  request.set_allow_fewer_steps(true);
  const v1::Accepted accepted = AcceptedAndCancelled(request, absl::Seconds(seconds / 4));
  EXPECT_EQ(accepted.steps_requested(), 1000);
  EXPECT_GT(accepted.steps(), 0);
  EXPECT_LT(accepted.steps(), 1000);
  EXPECT_EQ(accepted.sampler().steps(), accepted.steps());
  EXPECT_THAT(accepted.timesteps(), SizeIs(accepted.evaluations()));

  // Where there is time enough, nothing is left out.
  request = GuidedRequest(/*steps=*/2);
  request.set_allow_fewer_steps(true);
  const Generation done = Generate(server_->generation(), request, absl::Hours(1));
  ASSERT_THAT(done.events, Not(IsEmpty())) << done.status.error_message();
  EXPECT_EQ(done.events.front().accepted().steps(), 2);
  EXPECT_EQ(done.events.front().accepted().steps_requested(), 0);
}

TEST_F(LoadTest, AnInteractiveRequestPassesAFloodOfOthers) {
  Start({"--max-batch-rows", "2", "--max-active-rows", "2"});
  Flood(20, Endless());
  EXPECT_TRUE(calls_.back()->Queued());
  EXPECT_FALSE(calls_.back()->Started());
  GenerateRequest urgent = GuidedRequest(/*steps=*/20);
  urgent.set_priority(v1::PRIORITY_INTERACTIVE);
  const Generation done = Generate(server_->generation(), urgent);
  ASSERT_TRUE(done.status.ok()) << done.status.error_message();
  EXPECT_EQ(done.events.front().accepted().priority(), v1::PRIORITY_INTERACTIVE);
  EXPECT_THAT(done.Of(GenerateEvent::kQueued), IsEmpty()) << "it had to wait";
  for (const auto& call : calls_) EXPECT_FALSE(call->Finished());
}

// The other tenant has filled the loop and the queue.
TEST_F(LoadTest, ATenantIsServedWhateverAnotherHasSent) {
  Start({"--tenant-header", "x-tenant", "--max-batch-rows", "2", "--max-active-rows", "2",
         "--queue-size", "8"});
  while (calls_.empty() || !calls_.back()->Finished()) Flood(1, Endless());
  EXPECT_EQ(calls_.back()->Join().status.error_code(), grpc::StatusCode::UNAVAILABLE);
  grpc::ClientContext context;
  context.AddMetadata("x-tenant", "quiet");
  const auto stream = server_->generation().Generate(&context, GuidedRequest(/*steps=*/20));
  GenerateEvent event;
  int images = 0;
  while (stream->Read(&event)) {
    EXPECT_FALSE(event.has_queued()) << "it had to wait";
    images += event.has_image();
  }
  const grpc::Status status = stream->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(images, 1);
  calls_.pop_back();
  for (const auto& call : calls_) EXPECT_FALSE(call->Finished());
}

TEST_F(LoadTest, ARequestInTheQueueIsToldForHowLong) {
  Start({"--max-batch-rows", "2", "--max-active-rows", "2"});
  AcceptedOnceCostsAreKnown();
  Flood(2, Endless());
  calls_.back()->Cancel();
  const auto queued = calls_.back()->Join().Of(GenerateEvent::kQueued);
  ASSERT_THAT(queued, Not(IsEmpty()));
  EXPECT_TRUE(queued.front().queued().has_expected_wait());
  EXPECT_GT(queued.front().queued().expected_wait().seconds(), 0);
}

TEST_F(LoadTest, ATenantAtItsLimitIsToldWhenToComeBack) {
  Start({"--max-batch-rows", "2", "--max-active-rows", "2", "--tenant-queue-size", "2"});
  Flood(3, Endless());
  const Generation refused = Generate(server_->generation(), GuidedRequest(/*steps=*/1));
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(DetailsOf<google::rpc::ErrorInfo>(refused.status).at(0).reason(), "TENANT_LIMIT");
  EXPECT_THAT(DetailsOf<google::rpc::RetryInfo>(refused.status), SizeIs(1));
  const auto quota = DetailsOf<google::rpc::QuotaFailure>(refused.status);
  ASSERT_THAT(quota, SizeIs(1));
  EXPECT_EQ(quota[0].violations(0).subject(), "callers without a tenant");
}

TEST_F(LoadTest, WholeRequestsWaitForEachOther) {
  models_.AddGuided();
  for (const char* batching : {"request", "none"}) {
    server_ = StartServer(models_.path(), {"--batching", batching});
    Flood(1, Endless());
    ASSERT_TRUE(Eventually([&] { return calls_.back()->Started(); }));
    Flood(1, GuidedRequest(/*steps=*/1));
    EXPECT_TRUE(calls_.back()->Queued()) << batching;
    EXPECT_FALSE(calls_.back()->Started()) << batching;
    calls_.front()->Cancel();
    EXPECT_TRUE(calls_.back()->Join().status.ok()) << batching;
    calls_.clear();
  }
}

TEST_F(LoadTest, CostsAreKeptForTheNextServer) {
  TempDir folder;
  const std::filesystem::path file = folder.path() / "costs.json";
  Start({"--cost-file", file.string()});
  AcceptedOnceCostsAreKnown();
  server_.reset();
  ASSERT_TRUE(std::filesystem::exists(file));
  server_ = StartServer(models_.path(), {"--cost-file", file.string()});
  const Generation first = Generate(server_->generation(), GuidedRequest(/*steps=*/1));
  ASSERT_THAT(first.events, Not(IsEmpty())) << first.status.error_message();
  EXPECT_TRUE(first.events.front().accepted().has_cost());
  server_.reset();
  std::ofstream(file) << "broken";
  server_ = StartServer(models_.path(), {"--cost-file", file.string()});
  EXPECT_TRUE(Eventually([&] {
    return absl::StrContains(server_->Log(), "--cost-file is ignored");
  })) << server_->Log();
  EXPECT_TRUE(Generate(server_->generation(), GuidedRequest(/*steps=*/1)).status.ok());
}

TEST_F(LoadTest, SharingThatMakesNoSenseIsRefused) {
  Start({});
  GenerateRequest request = GuidedRequest(/*steps=*/1);
  request.set_priority(static_cast<v1::Priority>(9));
  request.set_allow_fewer_steps(true);
  request.set_on_disconnect(v1::ON_DISCONNECT_DETACH);
  EXPECT_THAT(ViolatedFields(Generate(server_->generation(), request).status),
              ElementsAre("priority", "allow_fewer_steps"));
  request = GuidedRequest(/*steps=*/1);
  request.set_allow_fewer_steps(true);
  request.mutable_sampler()->clear_steps();
  request.mutable_sampler()->add_timesteps(900);
  request.mutable_sampler()->add_timesteps(100);
  EXPECT_THAT(ViolatedFields(Generate(server_->generation(), request).status),
              ElementsAre("allow_fewer_steps"));
}

}  // namespace
}  // namespace denoise
