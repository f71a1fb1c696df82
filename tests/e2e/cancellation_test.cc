// However a client goes away, its rows are freed at the next evaluation and the others never
// notice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/metric_names.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

using denoised::v1::GenerateRequest;
using testing::SizeIs;

class CancellationTest : public testing::Test {
 protected:
  CancellationTest() {
    models_.AddGuided();
    server_ = StartServer(models_.path());
  }

  double ActiveRows() const { return server_->Metrics().Sum(kActiveRows); }
  // Of single images.
  double Evaluations() const { return server_->Metrics().Sum(kTrajectories); }

  // Runs until somebody stops it, and leaves room for others.
  static constexpr int kImages = 16, kSteps = 1000;
  static GenerateRequest EndlessRequest() {
    GenerateRequest request = GuidedRequest(kSteps);
    request.set_count(kImages);
    return request;
  }

  ModelsFolder models_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(CancellationTest, KillingAClientFreesItsRowsAndSparesTheOthers) {
  const GenerateRequest bystander_request = GuidedRequest(/*steps=*/900);
  const auto expected = Generate(server_->generation(), bystander_request).Images();
  ASSERT_THAT(expected, SizeIs(1));

  const TempDir out;
  auto client = Subprocess::Start({DenoiseBinary(), "generate", "--server", server_->address(),
                                   "--model", "guided", "--class-label", "1", "--count",
                                   absl::StrCat(kImages), "--steps", absl::StrCat(kSteps),
                                   "--frames", "1", "--out", out.path().string()});
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE(Eventually([&] { return ActiveRows() == kImages; }));
  BackgroundCall bystander(server_->generation(), bystander_request);
  ASSERT_TRUE(Eventually([&] { return ActiveRows() == kImages + 1; }));

  (*client)->Signal(SIGKILL);
  ASSERT_EQ((*client)->Wait(kPatience), (ExitStatus{.signal = SIGKILL}));
  ASSERT_TRUE(Eventually([&] { return ActiveRows() <= 1; }));
  EXPECT_LT(Evaluations(), kImages * kSteps) << "the rows went away because they had ended";

  EXPECT_TRUE(bystander.Join().status.ok()) << bystander.Join().status.error_message();
  EXPECT_EQ(bystander.Join().Images(), expected);
  EXPECT_TRUE(Eventually([&] { return ActiveRows() == 0; }));
}

TEST_F(CancellationTest, CancellingACallFreesItsRows) {
  BackgroundCall call(server_->generation(), EndlessRequest());
  ASSERT_TRUE(Eventually([&] { return ActiveRows() == kImages; }));
  call.Cancel();
  EXPECT_EQ(call.Join().status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Eventually([&] { return ActiveRows() == 0; }));
  EXPECT_LT(Evaluations(), kImages * kSteps) << "it ran to its end";
  EXPECT_TRUE(Generate(server_->generation(), GuidedRequest(/*steps=*/2)).status.ok());
}

TEST_F(CancellationTest, CancellingAWaitingCallTakesItOutOfTheQueue) {
  std::vector<std::unique_ptr<BackgroundCall>> running;
  while (running.empty() || !running.back()->Queued()) {
    ASSERT_LT(running.size(), 64u);
    running.push_back(std::make_unique<BackgroundCall>(server_->generation(), EndlessRequest()));
    BackgroundCall& call = *running.back();
    ASSERT_TRUE(Eventually([&] { return call.Started() || call.Queued(); }));
  }
  running.back()->Cancel();
  EXPECT_EQ(running.back()->Join().status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Eventually([&] { return server_->Metrics().Sum(kQueueDepth) == 0; }));
}

TEST_F(CancellationTest, APassedDeadlineEndsTheCallAndFreesItsRows) {
  const Generation run =
      Generate(server_->generation(), EndlessRequest(), /*timeout=*/absl::Milliseconds(300));
  EXPECT_EQ(run.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Eventually([&] { return ActiveRows() == 0; }));
  EXPECT_LT(Evaluations(), kImages * kSteps) << "it ran to its end";
  EXPECT_TRUE(Generate(server_->generation(), GuidedRequest(/*steps=*/2)).status.ok());
}

TEST_F(CancellationTest, OutcomesAreCounted) {
  EXPECT_TRUE(Generate(server_->generation(), GuidedRequest(/*steps=*/2)).status.ok());
  {
    BackgroundCall call(server_->generation(), EndlessRequest());
    ASSERT_TRUE(Eventually([&] { return ActiveRows() == kImages; }));
  }
  GenerateRequest bad = GuidedRequest(/*steps=*/0);
  EXPECT_FALSE(Generate(server_->generation(), bad).status.ok());
  for (const char* outcome : {kOutcomeOk, kOutcomeCancelled, kOutcomeInvalidArgument}) {
    EXPECT_TRUE(Eventually([&] {
      return server_->Metrics().Sum(kRequests, {{kOutcomeLabel, outcome}}) == 1;
    })) << outcome;
  }
}

}  // namespace
}  // namespace denoise
