#include "core/diffusion/start.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/diffusion/denoising_loop.h"
#include "core/diffusion/sample.h"
#include "core/sampling/samplers/compile_plan.h"
#include "tests/core/device/cpu_runtime.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

using Plan = std::shared_ptr<const SamplerPlan>;

constexpr int64_t kShape[] = {3, 5, 7};
constexpr double kMean = 0.25, kDeviation = 0.5;

Plan Compile(const SamplerOptions& options, const RunOptions& run = {}) {
  return std::make_shared<const SamplerPlan>(
      *CompilePlan(*Schedule::Create(VpOptions()), options, run));
}

GaussianNetwork TestNetwork() {
  return GaussianNetwork(*Schedule::Create(VpOptions()),
                         {.means = {kMean}, .deviation = kDeviation}, kShape[0], kShape[1],
                         kShape[2]);
}

at::Tensor Picture() {
  return at::linspace(-1, 1, 3 * 5 * 7, at::TensorOptions().dtype(at::kFloat)).view(kShape);
}

at::Tensor Generate(const Plan& plan, const SampleRequest& request) {
  return Sample(TestNetwork(), plan, {request})[0];
}

SampleRequest From(const Start& start, uint64_t seed = 1) {
  return {.seed = seed, .conditioning = {}, .start = start, .inpainting = std::nullopt};
}

double Deviation(const at::Tensor& x) { return x.std().item<double>(); }

double Distance(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST(Slerp, EndsExactlyAtBothEnds) {
  const at::Tensor a = NoiseSource(1).Draw(kShape), b = NoiseSource(2).Draw(kShape);
  EXPECT_TRUE(Slerp(a, b, 0).equal(a));
  EXPECT_TRUE(Slerp(a, b, 1).equal(b));
}

TEST(Slerp, KeepsTheDeviationThatTheStraightLineLoses) {
  const int64_t shape[] = {3, 64, 64};
  const at::Tensor a = NoiseSource(1).Draw(shape), b = NoiseSource(2).Draw(shape);
  EXPECT_NEAR(Deviation(Slerp(a, b, 0.5)), 1, 0.02);
  EXPECT_NEAR(Deviation(0.5 * a + 0.5 * b), std::sqrt(0.5), 0.02);
}

TEST(Slerp, GoesThroughTheMiddleOfTheAngle) {
  const at::Tensor a = at::zeros({2}), b = at::zeros({2});
  a[0] = 1;
  b[1] = 1;
  const at::Tensor third = Slerp(a, b, 1.0 / 3);
  EXPECT_NEAR(third[0].item<double>(), std::cos(M_PI / 6), 1e-6);
  EXPECT_NEAR(third[1].item<double>(), std::sin(M_PI / 6), 1e-6);
}

TEST(Slerp, IsFiniteWhereThereIsNoAngle) {
  const at::Tensor a = at::ones({4}), none = at::zeros({4});
  EXPECT_LT(Distance(Slerp(a, a, 0.3), a), 1e-6);
  EXPECT_LT(Distance(Slerp(a, -a, 0.25), 0.5 * a), 1e-6);
  EXPECT_LT(Distance(Slerp(a, none, 0.25), 0.75 * a), 1e-6);
}

TEST(NoiseStart, TheNoiseOfASeedIsWhatItsImageStartsFrom) {
  const Plan plan = Compile({.sampler = SamplerKind::kDdpm, .steps = 5});
  const at::Tensor expected = Generate(plan, From(NoiseStart(), 7));
  EXPECT_TRUE(Generate(plan, From(NoiseStart{.from = uint64_t{7}}, 7)).equal(expected));
  const at::Tensor noise = NoiseSource(7).Draw(kShape);
  EXPECT_TRUE(Generate(plan, From(NoiseStart{.from = noise}, 7)).equal(expected));
  EXPECT_FALSE(Generate(plan, From(NoiseStart{.from = uint64_t{8}}, 7)).equal(expected));
  EXPECT_FALSE(Generate(plan, From(NoiseStart{.from = uint64_t{7}}, 8)).equal(expected))
      << "the noise on the way is the image's own";
}

TEST(NoiseStart, IsScaledToTheSamplersNoise) {
  const Plan plan = Compile({.sampler = SamplerKind::kEuler, .steps = 5});
  NoiseSource source(1);
  const at::Tensor noise = NoiseSource(3).Draw(kShape);
  EXPECT_TRUE(
      FindStartingState(NoiseStart{.from = noise}, *plan, /*draws_known=*/false, source, kShape)
          .x.equal(noise * plan->init_noise_scale));
}

TEST(NoiseStart, GoesFromOneNoiseToTheOtherAndThenTowardsItsOwn) {
  const Plan plan = Compile({.sampler = SamplerKind::kDdim, .steps = 5});
  const auto state = [&](const NoiseStart& start) {
    NoiseSource source(9);
    return FindStartingState(start, *plan, /*draws_known=*/false, source, kShape).x;
  };
  const at::Tensor own = NoiseSource(9).Draw(kShape);
  const at::Tensor from = NoiseSource(1).Draw(kShape), to = NoiseSource(2).Draw(kShape);
  const NoiseStart between{.from = uint64_t{1}, .to = to, .fraction = 0.3};
  EXPECT_TRUE(state(between).equal(Slerp(from, to, 0.3)));
  NoiseStart varied = between;
  varied.variation = 0.2;
  EXPECT_TRUE(state(varied).equal(Slerp(Slerp(from, to, 0.3), own, 0.2)));
  varied.variation = 1;
  EXPECT_TRUE(state(varied).equal(own));
}

TEST(PictureStart, IsThePictureAtTheLevelOfTheFirstStep) {
  for (SamplerKind sampler : {SamplerKind::kDdim, SamplerKind::kEuler}) {
    const Plan plan = Compile({.sampler = sampler, .steps = 10}, {.strength = 0.4});
    NoiseSource source(4);
    const at::Tensor x =
        FindStartingState(PictureStart{Picture()}, *plan, /*draws_known=*/false, source, kShape).x;
    const Evaluation& first = plan->evaluations.front();
    const at::Tensor expected = first.alpha * Picture() + first.sigma * NoiseSource(4).Draw(kShape);
    EXPECT_LT(Distance(x, expected), 1e-5);
  }
}

// The picture is far outside of what the network knows; little noise leaves it, much draws it in.
TEST(PictureStart, LittleStrengthKeepsThePicture) {
  const SamplerOptions options{.sampler = SamplerKind::kDdim, .steps = 20};
  const at::Tensor picture = at::full(kShape, 3.0);
  const double near = Distance(
      Generate(Compile(options, {.strength = 0.05}), From(PictureStart{picture})), picture);
  const double far = Distance(Generate(Compile(options), From(PictureStart{picture})), picture);
  EXPECT_LT(near, 0.2);
  EXPECT_GT(far, 1.5);
}

TEST(PictureStart, AnInversionStartsFromThePictureItself) {
  const Plan plan = Compile({.sampler = SamplerKind::kDdim, .steps = 200}, {.inverted = true});
  NoiseSource source(1);
  EXPECT_TRUE(
      FindStartingState(PictureStart{Picture()}, *plan, /*draws_known=*/false, source, kShape)
          .x.equal(Picture()));
  const at::Tensor noise = Generate(plan, From(PictureStart{Picture()}));
  EXPECT_LT(Distance(noise, (Picture() - kMean) / kDeviation), 0.1);
  const Plan forward = Compile({.sampler = SamplerKind::kDdim, .steps = 200});
  EXPECT_LT(Distance(Generate(forward, From(NoiseStart{.from = noise})), Picture()), 0.05);
}

// Runs the first steps and takes a frame; then runs the rest from there.
at::Tensor Branch(const SamplerOptions& options, int step, uint64_t seed) {
  const GaussianNetwork network = TestNetwork();
  Trajectory original(Compile(options), {}, 5, network.spec().sample, *CpuRuntime());
  for (int i = 0; i < step; ++i) {
    DenoisingLoop(network, CpuRuntime()).Evaluate({&original});
  }
  return Generate(Compile(options, {.first_step = step}),
                  From(FrameStart{original.PictureOfX()}, seed));
}

TEST(FrameStart, ABranchWithTheSameSeedGoesOnBitForBit) {
  const c10::InferenceMode inference;
  const SamplerOptions samplers[] = {
      {.sampler = SamplerKind::kDdim, .steps = 10},
      {.sampler = SamplerKind::kDdpm, .steps = 10},
      {.sampler = SamplerKind::kDpmSolverPlusPlus, .steps = 10, .solver_order = 1},
  };
  for (const SamplerOptions& options : samplers) {
    const at::Tensor original = Generate(Compile(options), From(NoiseStart(), 5));
    for (int step : {1, 4, 9}) EXPECT_TRUE(Branch(options, step, 5).equal(original)) << step;
  }
}

// A frame in sigma space was scaled for the network, and scaling back rounds.
TEST(FrameStart, ABranchInSigmaGoesOnWithinRounding) {
  const c10::InferenceMode inference;
  for (SamplerKind sampler : {SamplerKind::kEuler, SamplerKind::kEulerAncestral}) {
    const SamplerOptions options{.sampler = sampler, .steps = 10};
    const at::Tensor original = Generate(Compile(options), From(NoiseStart(), 5));
    EXPECT_LT(Distance(Branch(options, 4, 5), original), 1e-5);
  }
}

TEST(FrameStart, ABranchWithAnotherSeedGoesElsewhere) {
  const c10::InferenceMode inference;
  const SamplerOptions options{.sampler = SamplerKind::kDdpm, .steps = 10};
  const at::Tensor original = Generate(Compile(options), From(NoiseStart(), 5));
  EXPECT_GT(Distance(Branch(options, 4, 6), original), 0.1);
}

// The base of SDXL and its refiner: what the first part leaves is x, in whatever space.
TEST(FrameStart, TheSecondPartOfARunContinuesFromWhatTheFirstLeft) {
  for (SamplerKind sampler : {SamplerKind::kEuler, SamplerKind::kDdim}) {
    const SamplerOptions options{.sampler = sampler, .steps = 10};
    const at::Tensor left = Generate(Compile(options, {.denoising_end = 0.6}), From(NoiseStart()));
    const at::Tensor image = Generate(Compile(options, {.denoising_start = 0.6}),
                                      From(FrameStart{.frame = left, .is_x = true}));
    EXPECT_TRUE(image.equal(Generate(Compile(options), From(NoiseStart()))))
        << SamplerName(sampler);
  }
}

at::Tensor HalfMask() {
  const at::Tensor mask = at::zeros({1, 5, 7});
  mask.narrow(2, 0, 3).fill_(1);
  return mask;
}

TEST(Inpainting, KeepsThePictureExactlyWhereTheMaskIsBlack) {
  for (SamplerKind sampler :
       {SamplerKind::kDdpm, SamplerKind::kDpmSolverPlusPlus, SamplerKind::kUniPc,
        SamplerKind::kEulerAncestral, SamplerKind::kHeun}) {
    SampleRequest request = From(NoiseStart());
    request.inpainting = Inpainting{Picture(), HalfMask()};
    const at::Tensor image = Generate(Compile({.sampler = sampler, .steps = 8}), request);
    EXPECT_TRUE(image.narrow(2, 3, 4).equal(Picture().narrow(2, 3, 4))) << SamplerName(sampler);
    EXPECT_GT(Distance(image.narrow(2, 0, 3), Picture().narrow(2, 0, 3)), 0.1);
  }
}

TEST(Inpainting, AWhiteMaskIsPlainGenerationForSamplersWithoutNoise) {
  const Plan plan = Compile({.sampler = SamplerKind::kHeun, .steps = 8});
  SampleRequest request = From(NoiseStart());
  request.inpainting = Inpainting{Picture(), at::ones({1, 5, 7})};
  EXPECT_TRUE(Generate(plan, request).equal(Generate(plan, From(NoiseStart()))));
}

// After every step the known part is the picture at that level, with fresh noise.
TEST(Inpainting, TheKnownPartIsAtTheLevelOfTheStep) {
  const c10::InferenceMode inference;
  const int64_t height = 64, width = 64;
  const GaussianNetwork network(*Schedule::Create(VpOptions()), {}, 3, height, width);
  const at::Tensor picture = at::full({3, height, width}, 0.5);
  for (SamplerKind sampler : {SamplerKind::kDdim, SamplerKind::kEuler}) {
    const Plan plan = Compile({.sampler = sampler, .steps = 6}, {.jump_length = 2, .resamples = 2});
    Trajectory trajectory(plan, {}, 3, network.spec().sample, *CpuRuntime(), NoiseStart(),
                          Inpainting{picture, at::zeros({1, height, width})});
    for (size_t e = 0; !trajectory.done(); ++e) {
      DenoisingLoop(network, CpuRuntime()).Evaluate({&trajectory});
      const auto [alpha, sigma] = plan->LevelAfter(e);
      EXPECT_NEAR(trajectory.x().mean().item<double>(), 0.5 * alpha, 0.05 * sigma + 1e-6);
      EXPECT_NEAR(Deviation(trajectory.x()), sigma, 0.03 * sigma + 1e-6);
    }
  }
}

TEST(Inpainting, ABranchWithTheSameSeedGoesOnBitForBit) {
  const c10::InferenceMode inference;
  const GaussianNetwork network = TestNetwork();
  for (SamplerKind sampler : {SamplerKind::kDdpm, SamplerKind::kDdim}) {
    const SamplerOptions options{.sampler = sampler, .steps = 10};
    const Inpainting inpainting{Picture(), HalfMask()};
    Trajectory original(Compile(options), {}, 5, network.spec().sample, *CpuRuntime(), NoiseStart(),
                        inpainting);
    at::Tensor frame;
    while (!original.done()) {
      if (original.steps_done() == 4) frame = original.PictureOfX();
      DenoisingLoop(network, CpuRuntime()).Evaluate({&original});
    }
    SampleRequest branch = From(FrameStart{frame}, 5);
    branch.inpainting = inpainting;
    EXPECT_TRUE(Generate(Compile(options, {.first_step = 4}), branch).equal(original.x()))
        << SamplerName(sampler);
  }
}

TEST(Inpainting, AnEvaluationThatIsTriedAgainHasTheSameNoise) {
  const c10::InferenceMode inference;
  const GaussianNetwork network = TestNetwork();
  const Plan plan = Compile({.sampler = SamplerKind::kDdpm, .steps = 3});
  Trajectory trajectory(plan, {}, 3, network.spec().sample, *CpuRuntime(), NoiseStart(),
                        Inpainting{Picture(), HalfMask()});
  const at::Tensor noise = trajectory.noise().clone(),
                   known = trajectory.known(*CpuRuntime()).clone();
  EXPECT_TRUE(trajectory.noise().equal(noise));
  EXPECT_TRUE(trajectory.known(*CpuRuntime()).equal(known));
}

TEST(RowBatch, StartsOfEveryKindShareBatchesBitForBit) {
  const c10::InferenceMode inference;
  const GaussianNetwork network = TestNetwork();
  const SamplerOptions ddpm{.sampler = SamplerKind::kDdpm, .steps = 6};
  const SamplerOptions euler{.sampler = SamplerKind::kEuler, .steps = 6};
  struct Job {
    Plan plan;
    SampleRequest request;
  };
  std::vector<Job> jobs = {
      {Compile(ddpm), From(NoiseStart())},
      {Compile(ddpm, {.strength = 0.5}), From(PictureStart{Picture()})},
      {Compile(euler, {.first_step = 2}), From(FrameStart{Picture()})},
      {Compile(euler), From(NoiseStart{.from = uint64_t{1}, .to = uint64_t{2}, .fraction = 0.4})},
      {Compile(euler, {.inverted = true}), From(PictureStart{Picture()})},
      {Compile(ddpm, {.jump_length = 2, .resamples = 2}), From(NoiseStart())},
      {Compile({.sampler = SamplerKind::kUniPc, .steps = 6}), From(NoiseStart())},
  };
  for (size_t i : {5, 6}) jobs[i].request.inpainting = Inpainting{Picture(), HalfMask()};
  std::vector<Trajectory> together;
  for (const Job& job : jobs) {
    together.emplace_back(job.plan, job.request.conditioning, job.request.seed,
                          network.spec().sample, *CpuRuntime(), job.request.start,
                          job.request.inpainting);
  }
  while (true) {
    std::vector<Trajectory*> running;
    for (Trajectory& trajectory : together) {
      if (!trajectory.done()) running.push_back(&trajectory);
    }
    if (running.empty()) break;
    DenoisingLoop(network, CpuRuntime()).Evaluate(running);
  }
  for (size_t i = 0; i < jobs.size(); ++i) {
    EXPECT_TRUE(together[i].x().equal(Generate(jobs[i].plan, jobs[i].request))) << i;
  }
}

}  // namespace
}  // namespace denoise
