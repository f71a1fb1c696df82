// Eight clients at once share the denoising loop, and none can tell.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/e2e/clients_at_once.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

struct Job {
  const char* sampler;
  int steps;
  const char* guidance_scale;
  int seed;
  const char* class_weights;
};

// Many steps of one small image each: long enough to meet the others, whatever the order of
// starting.
constexpr Job kJobs[] = {
    {"ddpm", 160, "1", 11, "c0=1"},       {"ddim", 200, "2", 22, "c1=1,c4=2"},
    {"dpm_solver", 180, "1", 3, "c2=1"},  {"dpmpp_2m", 220, "3.5", 4, "c3=1"},
    {"dpmpp_sde", 150, "1.5", 5, "c4=1"}, {"unipc", 210, "2", 6, "0=1"},
    {"ddim", 240, "1", 7, "1=1"},         {"ddpm", 190, "0", 8, "2=1"},
};

std::vector<std::vector<std::string>> Clients() {
  std::vector<std::vector<std::string>> clients;
  for (const Job& job : kJobs) {
    clients.push_back({"--model", "guided", "--class-weights", job.class_weights, "--count", "1",
                       "--seed", absl::StrCat(job.seed), "--sampler", job.sampler, "--steps",
                       absl::StrCat(job.steps), "--guidance-scale", job.guidance_scale});
  }
  return clients;
}

struct BatchesCase {
  std::vector<std::string> flags;
  double trajectories_per_evaluation;  // more than this many, on average
};

class SharedBatchesTest : public testing::TestWithParam<BatchesCase> {};

TEST_P(SharedBatchesTest, EightClientsAtOnceGetTheSameBytesAsEachAlone) {
  ModelsFolder models;
  models.AddGuided();
  const auto server = StartServer(models.path(), GetParam().flags);

  const auto alone = RunClients(*server, Clients(), /*at_once=*/1);
  const WorkDone work_alone = WorkDoneBy(*server);
  EXPECT_EQ(work_alone.trajectories, work_alone.evaluations)
      << "one image at a time shares nothing";

  const auto together = RunClients(*server, Clients(), /*at_once=*/8);
  const WorkDone work_together = WorkDoneBy(*server);
  for (size_t i = 0; i < alone.size(); ++i) {
    EXPECT_TRUE(together[i] == alone[i]) << "job " << i << ", " << kJobs[i].sampler;
  }

  const double trajectories = work_together.trajectories - work_alone.trajectories;
  const double evaluations = work_together.evaluations - work_alone.evaluations;
  EXPECT_EQ(trajectories, work_alone.trajectories) << "the same work in both rounds";
  EXPECT_GT(trajectories / evaluations, GetParam().trajectories_per_evaluation)
      << "the clients shared evaluations";
}

// The second case has fewer rows to a batch than there are, so that trajectories rotate; with most
// images taking two rows, and one three, it can share no more than 1.6 even if all come at once.
INSTANTIATE_TEST_SUITE_P(Batches, SharedBatchesTest,
                         testing::Values(BatchesCase{{}, 1.5},
                                         BatchesCase{{"--max-batch-rows", "3"}, 1.1}));

TEST(SharedBatches, AnImageDoesNotDependOnTheImagesOfItsOwnRequest) {
  ModelsFolder models;
  models.AddGuided();
  const auto server = StartServer(models.path());
  auto request = GuidedRequest(/*steps=*/10);
  request.set_image_encoding(denoised::v1::ENCODING_RAW_FLOAT32);
  const std::string alone = Generate(server->generation(), request).Images()[0];
  ASSERT_FALSE(alone.empty());
  for (int count = 2; count <= 24; ++count) {
    request.set_count(count);
    const auto images = Generate(server->generation(), request).Images();
    ASSERT_THAT(images, testing::SizeIs(static_cast<size_t>(count)));
    EXPECT_TRUE(images.at(0) == alone) << "differs in a request for " << count << " images";
  }
}

// Two models never share a batch, and neither holds up the other.
TEST(SharedBatches, ModelsAreServedSideBySide) {
  ModelsFolder models;
  models.AddGuided("guided").AddReference("gray-not-square", "gray");
  const auto server = StartServer(models.path());
  auto long_request = GuidedRequest(/*steps=*/1000);
  long_request.set_count(24);  // takes longer than the short one on any machine
  BackgroundCall background(server->generation(), long_request);
  ASSERT_TRUE(Eventually([&] { return background.Started(); }));

  denoised::v1::GenerateRequest other;
  other.set_model("models/gray");
  other.mutable_sampler()->set_steps(5);
  EXPECT_TRUE(Generate(server->generation(), other).status.ok());
  EXPECT_FALSE(background.Finished()) << "the short request overtakes the long one";
  background.Cancel();
}

}  // namespace
}  // namespace denoise
