#include "server/jobs/runs/picture_run.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "core/diffusion/sample.h"
#include "core/image/image.h"
#include "core/sampling/samplers/compile_plan.h"
#include "server/jobs/runs/picture_sheet.h"
#include "tests/core/device/cpu_runtime.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

using ::testing::Each;
using ::testing::Le;

Schedule MakeSchedule() { return *Schedule::Create(VpOptions{}); }

std::shared_ptr<const SamplerPlan> MakePlan() {
  SamplerOptions options;
  options.steps = 3;
  return std::make_shared<const SamplerPlan>(*CompilePlan(MakeSchedule(), options));
}

struct Rows {
  std::vector<int64_t> calls;
  std::shared_ptr<const Network> network = std::make_shared<GaussianNetwork>(
      MakeSchedule(), GaussianData{.means = {0.2, -0.2, 0}}, 1, 4, 4,
      [this](const NetworkInput& input) { calls.push_back(input.x.size(0)); });
};

at::Tensor Finish(PictureRun& run) {
  std::vector<at::Tensor> pictures;
  while (!run.done()) {
    const at::Tensor some = run.RunSlice();
    if (some.defined()) pictures.push_back(some);
  }
  return at::cat(pictures);
}

TEST(PictureRun, MakesWhatTheSamplerMakesOfEachSeed) {
  Rows rows;
  const auto plan = MakePlan();
  const auto spread = SpreadOverClasses(rows.network->spec(), /*null_class_label=*/2, 2);
  PictureRun run(rows.network, CpuRuntime(),
                 {.plan = plan, .conditionings = spread, .seed = 7, .count = 5}, 4);

  const at::Tensor pictures = Finish(run);

  ASSERT_EQ(pictures.size(0), 5);
  for (int i = 0; i < 5; ++i) {
    const at::Tensor expected =
        Sample(*rows.network, plan, {{.seed = 7 + uint64_t(i), .conditioning = spread[i % 2]}});
    EXPECT_TRUE(at::equal(pictures[i], expected[0])) << i;
  }
}

TEST(PictureRun, ASliceIsOneCallOfAsManyRowsAsMay) {
  Rows rows;
  PictureRun run(rows.network, CpuRuntime(),
                 {.plan = MakePlan(),
                  .conditionings = SpreadOverClasses(rows.network->spec(), 2, 2),
                  .count = 5},
                 4);

  int slices = 0;
  while (!run.done()) {
    run.RunSlice();
    ++slices;
  }

  EXPECT_EQ(slices, 3 * 3);  // two pictures of two rows at once, three steps
  EXPECT_EQ(rows.calls.size(), size_t{9});
  EXPECT_THAT(rows.calls, Each(Le(4)));
}

TEST(PictureRun, AFailedCallMayBeTriedAgain) {
  bool fail = false;
  const auto network = std::make_shared<GaussianNetwork>(
      MakeSchedule(), GaussianData{}, 1, 4, 4, [&](const NetworkInput&) {
        if (std::exchange(fail, false)) throw std::runtime_error("a device that stumbles");
      });
  const PictureOrder order = {.plan = MakePlan(), .conditionings = {{}}, .count = 2};
  PictureRun smooth(network, CpuRuntime(), order, 2);
  const at::Tensor expected = Finish(smooth);
  PictureRun run(network, CpuRuntime(), order, 2);
  run.RunSlice();
  fail = true;
  EXPECT_THROW(run.RunSlice(), std::runtime_error);

  EXPECT_TRUE(at::equal(Finish(run), expected));
}

TEST(SpreadOverClasses, TakesEachClassInTurnAndNotTheOneThatStandsForNone) {
  const auto spread = SpreadOverClasses({.num_class_embeds = 3}, 1, 3);

  ASSERT_EQ(spread.size(), size_t{2});
  EXPECT_EQ(spread[0].conditions[0].condition->class_label, 0);
  EXPECT_EQ(spread[1].conditions[0].condition->class_label, 2);
  EXPECT_EQ(spread[0].unconditional->class_label, 1);
  EXPECT_EQ(spread[0].guidance.scale, 3);
}

TEST(SpreadOverClasses, ANetworkWithoutClassesHasOneConditioning) {
  const auto spread = SpreadOverClasses({}, std::nullopt, 1);

  ASSERT_EQ(spread.size(), size_t{1});
  ASSERT_EQ(spread[0].conditions.size(), 1u);
  EXPECT_EQ(spread[0].conditions[0].condition, NoCondition());
}

TEST(PictureSheet, IsAPngOfAllPictures) {
  const at::Tensor samples = at::cat(std::vector<at::Tensor>(5, at::full({1, 3, 8, 8}, 0.5)));

  const auto sheet = EncodeSheet(ImagesOf(samples));

  ASSERT_TRUE(sheet.ok()) << sheet.status();
  EXPECT_EQ(sheet->encoding(), denoised::v1::ENCODING_PNG);
  const auto decoded = DecodeImage(sheet->data(), 1 << 20);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->width, 3 * 9 + 1);
  EXPECT_EQ(decoded->height, 2 * 9 + 1);
  EXPECT_EQ(sheet->width(), decoded->width);
  EXPECT_EQ(sheet->height(), decoded->height);
  EXPECT_EQ(sheet->channels(), 3);
}

TEST(PictureSheet, ALargeOneIsShrunkUntilItFitsIntoAnEvent) {
  Image noise{1500, 1500, 3, std::vector<uint8_t>(1500 * 1500 * 3)};
  uint32_t state = 1;
  for (uint8_t& value : noise.pixels) value = uint8_t((state = state * 1664525 + 1013904223) >> 24);

  const auto picture = EncodePicture(noise);

  ASSERT_TRUE(picture.ok()) << picture.status();
  EXPECT_LT(picture->data().size(), size_t{4} << 20);
  EXPECT_EQ(picture->width(), 750);
}

}  // namespace
}  // namespace denoise
