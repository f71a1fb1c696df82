#include "core/pipeline/begin.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "core/diffusion/denoising_loop.h"
#include "core/pipeline/parsed_pipeline.h"
#include "core/pipeline/text_conditioning.h"
#include "core/sampling/samplers/compile_plan.h"

namespace denoise {
namespace {

using Plan = std::shared_ptr<const SamplerPlan>;

constexpr int kSide = 32;

// [3, H, W] in [-1, 1].
at::Tensor Picture() {
  return at::rand({3, kSide, kSide}, at::detail::createCPUGenerator(5)) * 2 - 1;
}

// White on its left half.
at::Tensor LeftMask() {
  at::Tensor mask = at::zeros({1, kSide, kSide});
  mask.narrow(2, 0, kSide / 2).fill_(1);
  return mask;
}

class BeginTest : public testing::Test {
 protected:
  void Open(const std::string& name) {
    const auto parsed = ParsedPipeline::Open("tests/data/pipelines/" + name);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    description_ = parsed->description();
    pipeline_ = *parsed->Load({});
  }

  Plan Compile(const RunOptions& run = {}) const {
    SamplerOptions sampler = description_->scheduler.sampler;
    sampler.steps = 4;
    return std::make_shared<const SamplerPlan>(*CompilePlan(description_->schedule, sampler, run));
  }

  Trajectory Begin(const Plan& plan, std::optional<Inpainting> inpainting,
                   const Start& start = NoiseStart(), uint64_t seed = 1) const {
    const TextRequest text{.prompt = *description_->prompts->Read({.text = "a cat"}),
                           .negative = description_->prompts->Absent(),
                           .guidance = {.scale = 3},
                           .sizes = {},
                           .negative_sizes = {}};
    return BeginTrajectory(
        plan, EncodeConditioning(MakeTextConditioning(text, description_->network), pipeline_),
        {.seed = seed,
         .shape = description_->codec.LatentShape(kSide, kSide),
         .start = start,
         .inpainting = std::move(inpainting)},
        pipeline_, *runtime_);
  }

  void Run(const std::vector<Trajectory*>& batch) const {
    DenoisingLoop loop(*pipeline_.network, runtime_);
    while (!batch.front()->done()) loop.Evaluate(batch);
  }

  const c10::InferenceMode inference_;
  std::optional<PipelineDescription> description_;
  Pipeline pipeline_;
  std::shared_ptr<DeviceRuntime> runtime_ = MakeDeviceRuntime(at::kCPU);
};

TEST_F(BeginTest, ANetworkThatTakesAMaskPaintsEverythingUnlessItIsToldOne) {
  Open("inpaint-9ch");
  const Plan plan = Compile();
  Trajectory unmasked = Begin(plan, std::nullopt);
  Trajectory white = Begin(plan, Inpainting{.picture = Picture(), .mask = at::ones({1, 32, 32})});
  Trajectory half = Begin(plan, Inpainting{.picture = Picture(), .mask = LeftMask()});
  EXPECT_FALSE(half.KeepsKnown()) << "the network does";
  Run({&unmasked, &white, &half});
  EXPECT_TRUE(unmasked.x().equal(white.x()));
  EXPECT_FALSE(unmasked.x().equal(half.x()));
}

TEST_F(BeginTest, MaskedRowsDoNotDependOnTheirBatch) {
  Open("inpaint-9ch");
  const Plan plan = Compile();
  const Inpainting left{.picture = Picture(), .mask = LeftMask()};
  const Inpainting right{.picture = -Picture(), .mask = 1 - LeftMask()};
  Trajectory alone = Begin(plan, left), first = Begin(plan, right, NoiseStart(), 2),
             second = Begin(plan, left);
  Run({&alone});
  Run({&first, &second});
  EXPECT_TRUE(alone.x().equal(second.x()));
}

TEST_F(BeginTest, OfAMaskCountsWhatIsHalfWhiteAtEveryFactorthPixel) {
  Open("inpaint-9ch");
  const int64_t factor = description_->codec.factor;
  at::Tensor mask = at::full({1, kSide, kSide}, 0.49F);
  mask[0][factor][2 * factor] = 0.5F;
  mask[0][factor + 1][0] = 1;  // between the pixels that count
  const Trajectory trajectory = Begin(Compile(), Inpainting{.picture = Picture(), .mask = mask});
  at::Tensor expected = at::zeros({kSide / factor, kSide / factor});
  expected[1][2] = 1;
  const Conditioning& conditioning = trajectory.conditioning();
  EXPECT_TRUE(conditioning.conditions.front().condition->channels[0].equal(expected));
  EXPECT_TRUE(conditioning.unconditional->channels[0].equal(expected));
}

TEST_F(BeginTest, ThePictureInTheHoleIsNotToldToTheNetwork) {
  Open("inpaint-9ch");
  const auto told = [&](const at::Tensor& picture) {
    return Begin(Compile(), Inpainting{.picture = picture, .mask = LeftMask()})
        .conditioning()
        .conditions.front()
        .condition->channels;
  };
  at::Tensor other_hole = Picture(), other_rest = Picture();
  other_hole.narrow(2, 0, kSide / 2).fill_(0.7);
  other_rest.narrow(2, kSide / 2, kSide / 2).fill_(0.7);
  EXPECT_TRUE(told(Picture()).equal(told(other_hole)));
  EXPECT_FALSE(told(Picture()).equal(told(other_rest)));
}

TEST_F(BeginTest, OtherLatentsKeepTheirFirstNoiseUnlessTheRunJumps) {
  Open("sdxl-like");
  const Inpainting inpainting{.picture = Picture(), .mask = at::zeros({1, kSide, kSide})};
  const Plan plan = Compile(), jumping = Compile({.jump_length = 2, .resamples = 2});
  Trajectory kept = Begin(plan, inpainting), fresh = Begin(jumping, inpainting);
  const auto& first = plan->evaluations.front();
  // The noise in x, which starts as init_noise_scale of it, against that of the known part.
  const at::Tensor noise = kept.x() / plan->init_noise_scale;
  const NoiseLevel level = plan->LevelAfter(0);
  const auto correlation = [&](Trajectory& trajectory) {
    return (trajectory.known(*runtime_) * noise).mean().item<double>() / level.sigma;
  };
  EXPECT_GT(first.sigma, level.sigma);
  EXPECT_NEAR(correlation(kept), 1, 0.2);
  EXPECT_NEAR(correlation(fresh), 0, 0.2);
  const at::Tensor x = kept.known(*runtime_).clone();
  DenoisingLoop(*pipeline_.network, runtime_).Evaluate({&kept});
  EXPECT_TRUE(kept.x().equal(x)) << "a black mask keeps everything";
}

TEST_F(BeginTest, APictureToStartFromCountsWhereTheRunStartsMidway) {
  Open("sdxl-like");
  const Inpainting inpainting{.picture = Picture(), .mask = LeftMask()};
  const Plan whole = Compile(), half = Compile({.strength = 0.5});
  EXPECT_TRUE(
      Begin(whole, inpainting, PictureStart{-Picture()}).x().equal(Begin(whole, inpainting).x()));
  EXPECT_FALSE(Begin(half, inpainting, PictureStart{-Picture()})
                   .x()
                   .equal(Begin(half, inpainting, PictureStart{Picture()}).x()));
}

}  // namespace
}  // namespace denoise
