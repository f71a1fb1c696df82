// A rolling restart: what a draining server has begun, another one continues.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/metric_names.h"
#include "tests/e2e/server_process.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using testing::IsEmpty;
using testing::SizeIs;
using v1::GenerateEvent;
using v1::GenerateRequest;

class HandoverTest : public testing::Test {
 protected:
  HandoverTest() {
    models_.AddGuided();
    const auto key = RunProcess({DenoisedBinary(), "new-handover-key"}, kPatience);
    std::ofstream(Key()) << key->output;
  }

  std::string Key() const { return (folder_.path() / "key").string(); }
  std::unique_ptr<ServerProcess> Start() const {
    return StartServer(models_.path(), {"--handover-key", Key(), "--drain-seconds", "600"});
  }

  // Different samplers, steps, seeds, guidance and counts.
  static std::vector<GenerateRequest> Requests() {
    std::vector<GenerateRequest> requests;
    const v1::Sampler samplers[] = {v1::SAMPLER_DDIM, v1::SAMPLER_DDPM, v1::SAMPLER_UNIPC,
                                    v1::SAMPLER_EULER_A};
    for (int i = 0; i < 4; ++i) {
      GenerateRequest request = GuidedRequest(/*steps=*/i == 0 ? 1000 : 300 + 20 * i);
      request.mutable_sampler()->set_sampler(samplers[i]);
      request.set_seed(100 + i);
      request.set_count(1 + i % 2);
      if (i == 2) request.mutable_guidance()->set_scale(3);
      request.set_accept_handover(true);
      requests.push_back(request);
    }
    return requests;
  }

  // Of all evaluations of a generation but `done`.
  static double RowsOf(const v1::Accepted& accepted, int done) {
    const int rows = accepted.has_guidance() && accepted.guidance().scale() != 1 ? 2 : 1;
    return rows * (accepted.count() * accepted.evaluations() - done);
  }

  TempDir folder_;
  ModelsFolder models_;
};

TEST_F(HandoverTest, AnotherServerContinuesWithTheSameBytesAndRepeatsNoEvaluation) {
  const std::vector<GenerateRequest> requests = Requests();
  const auto first = Start();
  std::vector<std::unique_ptr<BackgroundCall>> calls;
  for (const GenerateRequest& request : requests) {
    calls.push_back(std::make_unique<BackgroundCall>(first->generation(), request));
  }
  for (const auto& call : calls) {
    ASSERT_TRUE(Eventually([&] { return call->Started(); }));
  }
  first->process().Signal(SIGTERM);
  const auto second = Start();
  double rows_left = 0, rows_alone = 0;  // that the second server should have evaluated
  int handed_over = 0;
  for (size_t i = 0; i < calls.size(); ++i) {
    const Generation& begun = calls[i]->Join();
    std::map<int, std::string> images = begun.Images();
    if (!begun.status.ok()) {
      ++handed_over;
      EXPECT_EQ(begun.status.error_code(), grpc::StatusCode::UNAVAILABLE);
      ASSERT_EQ(begun.events.back().event_case(), GenerateEvent::kHandover)
          << begun.status.error_message();
      GenerateRequest presented;
      presented.set_handover(begun.events.back().handover().token());
      const Generation continued = Generate(second->generation(), presented);
      ASSERT_TRUE(continued.status.ok()) << continued.status.error_message();
      const v1::Accepted& accepted = continued.events.front().accepted();
      EXPECT_GT(accepted.evaluations_done(), 0);
      EXPECT_EQ(accepted.generation(), begun.events.front().accepted().generation());
      EXPECT_GT(continued.events.front().sequence(), begun.events.back().sequence());
      rows_left += RowsOf(accepted, accepted.evaluations_done());
      for (const auto& [index, image] : continued.Images()) {
        EXPECT_TRUE(images.emplace(index, image).second) << "image " << index << " came twice";
      }
    }
    EXPECT_THAT(images, SizeIs(requests[i].count()));
    GenerateRequest whole = requests[i];
    whole.clear_accept_handover();
    const Generation uninterrupted = Generate(second->generation(), whole);
    const v1::Accepted& accepted = uninterrupted.events.front().accepted();
    rows_alone += RowsOf(accepted, 0);
    EXPECT_EQ(uninterrupted.Images(), images) << "request " << i;
    EXPECT_TRUE(Eventually([&] { return second->Metrics().Sum(kRows) == rows_left + rows_alone; }))
        << "an evaluation was repeated";
  }
  EXPECT_GT(handed_over, 0) << "everything had ended before the signal came";
  EXPECT_EQ(first->process().Wait(kPatience), kExitedCleanly) << "without waiting for the drain";
}

TEST_F(HandoverTest, WhoDoesNotAcceptAHandoverIsServedToTheEnd) {
  const auto server = Start();
  GenerateRequest request = GuidedRequest(/*steps=*/1000);
  BackgroundCall stays(server->generation(), request);
  request.set_count(64);
  request.set_accept_handover(true);
  BackgroundCall leaves(server->generation(), request);
  ASSERT_TRUE(Eventually([&] { return stays.Started() && leaves.Started(); }));
  server->process().Signal(SIGTERM);
  EXPECT_EQ(leaves.Join().status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(leaves.Join().Of(GenerateEvent::kHandover), SizeIs(1));
  EXPECT_TRUE(stays.Join().status.ok()) << stays.Join().status.error_message();
  EXPECT_THAT(stays.Join().Of(GenerateEvent::kHandover), IsEmpty());
  EXPECT_EQ(server->process().Wait(kPatience), kExitedCleanly);
}

// What has not begun is handed over as well, and begins elsewhere.
TEST_F(HandoverTest, TheQueueIsHandedOver) {
  const auto first =
      StartServer(models_.path(), {"--handover-key", Key(), "--drain-seconds", "600", "--batching",
                                   "none"});  // or a short one begins, too
  GenerateRequest endless = GuidedRequest(/*steps=*/1000);
  endless.set_count(16);
  endless.set_accept_handover(true);
  BackgroundCall running(first->generation(), endless);
  ASSERT_TRUE(Eventually([&] { return running.Started(); }));
  GenerateRequest request = GuidedRequest(/*steps=*/5);
  request.set_seed(7);
  request.set_accept_handover(true);
  BackgroundCall waiting(first->generation(), request);
  ASSERT_TRUE(Eventually([&] { return waiting.Queued(); }));
  first->process().Signal(SIGTERM);
  const Generation& queued = waiting.Join();
  ASSERT_THAT(queued.Of(GenerateEvent::kHandover), SizeIs(1)) << queued.status.error_message();
  const auto second = Start();
  GenerateRequest presented;
  presented.set_handover(queued.events.back().handover().token());
  const Generation done = Generate(second->generation(), presented);
  ASSERT_TRUE(done.status.ok()) << done.status.error_message();
  EXPECT_EQ(done.events.front().accepted().evaluations_done(), 0);
  request.clear_accept_handover();
  EXPECT_EQ(done.Images(), Generate(second->generation(), request).Images());
}

}  // namespace
}  // namespace denoise
