// Runs that stop after some evaluations and continue elsewhere, bit for bit.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <utility>

#include "core/diffusion/denoising_loop.h"
#include "core/pipeline/begin.h"
#include "core/pipeline/parsed_pipeline.h"
#include "core/pipeline/text_conditioning.h"
#include "core/sampling/samplers/compile_plan.h"
#include "server/migration/handover_token.h"
#include "tests/support/class_conditions.h"
#include "tests/support/gaussian_network.h"
#include "tests/support/mlp_network.h"

namespace denoise {
namespace {

using Plan = std::shared_ptr<const SamplerPlan>;

constexpr uint64_t kSeed = 5;

Plan Compile(const SamplerOptions& options, const RunOptions& run = {},
             const ScheduleOptions& schedule = {}) {
  return std::make_shared<const SamplerPlan>(
      *CompilePlan(*Schedule::Create(schedule), options, run));
}

at::Tensor Random(at::IntArrayRef sizes) {
  return at::rand(sizes, at::detail::createCPUGenerator(3)) * 2 - 1;
}

// One image of some generation, and how it begins on any server.
struct Image {
  std::shared_ptr<const Network> network;
  Plan plan;
  SampleShape shape;
  std::function<Trajectory(DeviceRuntime&)> begin;
};

// The snapshot as another server reads it from the token.
absl::StatusOr<TrajectorySnapshot> Carry(const TrajectorySnapshot& snapshot, const Image& image) {
  const TokenKeys keys = *ParseTokenKeys(std::string(64, '1'));
  const absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  const HandoverState sealed =
      MakeHandoverState({}, {}, *image.plan, {.images_begun = {{0, snapshot}}}, 7);
  const auto opened = OpenHandover(SealHandover(sealed, "", now, keys), "", now, keys);
  if (!opened.ok()) return opened.status();
  ResolvedRequest resolved{.generation = {.shape = image.shape, .plan = image.plan}};
  if (absl::Status status = ContinueFrom(*opened, resolved); !status.ok()) return status;
  return resolved.generation.continues_from.images_begun.front().trajectory;
}

at::Tensor Run(Trajectory& trajectory, int evaluations, const Image& image,
               const std::shared_ptr<DeviceRuntime>& runtime) {
  DenoisingLoop loop(*image.network, runtime);
  while (!trajectory.done() && evaluations-- > 0) loop.Evaluate({&trajectory});
  return trajectory.x().clone();
}

void ExpectContinuesWithTheSameBits(const Image& image) {
  const c10::InferenceMode inference;
  const auto runtime = MakeDeviceRuntime(at::kCPU);
  const int count = static_cast<int>(image.plan->evaluations.size());
  Trajectory uninterrupted = image.begin(*runtime);
  const at::Tensor expected = Run(uninterrupted, count, image, runtime);
  for (const int k : std::set<int>{0, 1, count / 2, count - 1, count}) {
    SCOPED_TRACE(testing::Message() << k << " of " << count << " evaluations");
    Trajectory first = image.begin(*runtime), second = image.begin(*runtime);
    Run(first, k, image, runtime);
    const auto carried = Carry(first.Snapshot(), image);
    ASSERT_TRUE(carried.ok()) << carried.status();
    second.Continue(*carried, *runtime);
    EXPECT_EQ(second.steps_done(), first.steps_done());
    EXPECT_TRUE(Run(second, count - k, image, runtime).equal(expected));
    EXPECT_TRUE(second.done());
  }
}

// Pixels of three classes, with a blend of two, guidance and rescale.
Image ClassesImage(Plan plan, const Start& start = NoiseStart(),
                   std::optional<Inpainting> inpainting = std::nullopt) {
  const auto network = std::make_shared<GaussianNetwork>(
      *Schedule::Create({}), GaussianData{.means = {-0.5, 0.5, 0}, .deviation = 0.3}, 3, 5, 7);
  const Conditioning conditioning{.conditions = Classes({{0, 0.3}, {1, 0.7}}),
                                  .unconditional = ClassCondition(2),
                                  .guidance = {.scale = 2.5, .rescale = 0.7}};
  const SampleShape shape = network->spec().sample;
  return {.network = network, .plan = plan, .shape = shape, .begin = [=](DeviceRuntime& runtime) {
            return Trajectory(plan, conditioning, kSeed, shape, runtime, start, inpainting);
          }};
}

// --- Samplers

struct NamedPlan {
  std::string name;
  Plan plan;
};

std::vector<NamedPlan> PlansOfAllSamplers() {
  using Kind = SamplerKind;
  std::vector<NamedPlan> plans;
  const auto add = [&](const SamplerOptions& options, const ScheduleOptions& schedule = {}) {
    plans.push_back({std::string(SamplerName(options.sampler)), Compile(options, {}, schedule)});
  };
  add({.sampler = Kind::kDdpm, .steps = 9, .clip_sample = true});
  add({.sampler = Kind::kDdim, .steps = 7});
  add({.sampler = Kind::kDdim, .steps = 7, .eta = 0.7});
  for (const Kind multistep :
       {Kind::kDpmSolver, Kind::kDpmSolverPlusPlus, Kind::kUniPc, Kind::kDeis}) {
    add({.sampler = multistep, .steps = 8, .solver_order = 3});
  }
  add({.sampler = Kind::kSdeDpmSolverPlusPlus, .steps = 6});
  for (const Kind singlestep : {Kind::kDpmSolverSinglestep, Kind::kDpmSolverPlusPlusSinglestep}) {
    add({.sampler = singlestep, .steps = 7, .solver_order = 3});
  }
  add({.sampler = Kind::kSdeDpmSolverPlusPlusSinglestep, .steps = 6});
  for (const Kind any : {Kind::kEuler, Kind::kEulerAncestral, Kind::kHeun, Kind::kPndm, Kind::kPlms,
                         Kind::kVpSde, Kind::kVpOde}) {
    add({.sampler = any, .steps = 6});
  }
  for (const Kind churned : {Kind::kEuler, Kind::kHeun}) {
    add({.sampler = churned, .steps = 5, .sigma_spacing = SigmaSpacing::kKarras, .s_churn = 2},
        EdmOptions{});
  }
  add({.sampler = Kind::kLcm, .steps = 4, .clip_sample = true});
  add({.sampler = Kind::kTcd, .steps = 4, .eta = 0.3});
  add({.sampler = Kind::kConsistency, .steps = 3, .sigma_spacing = SigmaSpacing::kKarras},
      EdmOptions{.sigma_max = 10, .num_train_timesteps = 40, .consistency_model = true});
  return plans;
}

TEST(ContinuedRun, OfEverySamplerHasTheSameBits) {
  for (const auto& [name, plan] : PlansOfAllSamplers()) {
    SCOPED_TRACE(name);
    ExpectContinuesWithTheSameBits(ClassesImage(plan));
  }
}

TEST(ContinuedRun, WithLearnedVarianceHasTheSameBits) {
  const MlpOptions options{.height = 4, .width = 4, .out_channels = 2};
  StateDict weights = InitialMlpWeights(options, 1);
  for (auto& [name, weight] : weights) {
    weight.copy_(at::randn_like(weight, at::detail::createCPUGenerator(name.size())) * 0.05);
  }
  Image image = ClassesImage(Compile({.sampler = SamplerKind::kDdpm,
                                      .steps = 6,
                                      .clip_sample = true,
                                      .variance_type = VarianceType::kLearnedRange}));
  image.network = MakeMlp(options, weights);
  image.shape = image.network->spec().sample;
  image.begin = [plan = image.plan, shape = image.shape](DeviceRuntime& runtime) {
    return Trajectory(plan, {}, kSeed, shape, runtime);
  };
  ASSERT_TRUE(image.plan->NeedsLearnedVariance());
  ExpectContinuesWithTheSameBits(image);
}

// --- Where runs begin, and what they keep

Inpainting RightHalfKept(bool fresh_noise) {
  at::Tensor mask = at::zeros({1, 5, 7});
  mask.narrow(2, 0, 3).fill_(1);
  return {.picture = Random({3, 5, 7}), .mask = mask, .fresh_noise = fresh_noise};
}

TEST(ContinuedRun, OfAnInpaintingWithJumpsHasTheSameBits) {
  const RunOptions repaint{.jump_length = 2, .resamples = 3};
  for (const SamplerKind sampler : {SamplerKind::kDdpm, SamplerKind::kDpmSolverPlusPlus}) {
    SCOPED_TRACE(SamplerName(sampler));
    const Plan plan = Compile({.sampler = sampler, .steps = 6}, repaint);
    ASSERT_GT(plan->jumps, 0);
    ExpectContinuesWithTheSameBits(ClassesImage(plan, NoiseStart(), RightHalfKept(true)));
  }
}

TEST(ContinuedRun, OfAnInpaintingThatKeepsItsFirstNoiseHasTheSameBits) {
  const Plan plan = Compile({.sampler = SamplerKind::kEulerAncestral, .steps = 5});
  ExpectContinuesWithTheSameBits(ClassesImage(plan, NoiseStart(), RightHalfKept(false)));
}

TEST(ContinuedRun, FromOtherStartsHasTheSameBits) {
  const Plan late = Compile({.sampler = SamplerKind::kDdpm, .steps = 10}, {.strength = 0.6});
  ASSERT_GT(late->draws_left_out, 0);
  const NoiseStart between{
      .from = uint64_t{8}, .to = uint64_t{9}, .fraction = 0.3, .variation = 0.1};
  ExpectContinuesWithTheSameBits(ClassesImage(late, PictureStart{Random({3, 5, 7})}));
  ExpectContinuesWithTheSameBits(
      ClassesImage(late, FrameStart{Random({3, 5, 7})}, RightHalfKept(true)));
  ExpectContinuesWithTheSameBits(
      ClassesImage(Compile({.sampler = SamplerKind::kDdpm, .steps = 5}), between));
}

// --- Prompts and latents

class ContinuedPipelineRun : public testing::TestWithParam<const char*> {};

Image PromptImage(const ParsedPipeline& parsed, const RunOptions& run,
                  const std::optional<Inpainting>& inpainting, const Start& start) {
  const PipelineDescription& description = parsed.description();
  const auto pipeline = std::make_shared<const Pipeline>(*parsed.Load({}));
  SamplerOptions options = description.scheduler.sampler;
  options.steps = 4;
  const auto plan =
      std::make_shared<const SamplerPlan>(*CompilePlan(description.schedule, options, run));
  const Conditioning conditioning =
      MakeTextConditioning({.prompt = *description.prompts->Read({.text = "a cat"}),
                            .negative = description.prompts->Absent(),
                            .guidance = {.scale = 3, .rescale = 0.5},
                            .sizes = {},
                            .negative_sizes = {}},
                           description.network);
  const SampleShape shape = description.codec.LatentShape(32, 32);
  return {.network = pipeline->network,
          .plan = plan,
          .shape = shape,
          .begin = [=](DeviceRuntime& runtime) {
            return BeginTrajectory(
                plan, EncodeConditioning(conditioning, *pipeline),
                {.seed = kSeed, .shape = shape, .start = start, .inpainting = inpainting},
                *pipeline, runtime);
          }};
}

TEST_P(ContinuedPipelineRun, HasTheSameBits) {
  const c10::InferenceMode inference;
  const auto parsed = ParsedPipeline::Open(std::string("tests/data/pipelines/") + GetParam());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  at::Tensor mask = at::zeros({1, 32, 32});
  mask.narrow(2, 0, 16).fill_(1);
  const Inpainting inpainting{.picture = Random({3, 32, 32}), .mask = mask};
  const PictureStart picture{Random({3, 32, 32})};
  ExpectContinuesWithTheSameBits(PromptImage(*parsed, {}, std::nullopt, NoiseStart()));
  ExpectContinuesWithTheSameBits(PromptImage(*parsed, {.strength = 0.8}, std::nullopt, picture));
  ExpectContinuesWithTheSameBits(PromptImage(*parsed, {.strength = 0.8}, inpainting, picture));
  ExpectContinuesWithTheSameBits(
      PromptImage(*parsed, {.jump_length = 2, .resamples = 2}, inpainting, NoiseStart()));
}

INSTANTIATE_TEST_SUITE_P(Pipelines, ContinuedPipelineRun,
                         testing::Values("sd15-like", "sdxl-like", "inpaint-9ch"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace denoise
