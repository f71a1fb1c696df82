#include "core/diffusion/row_batch.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/quantile.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "core/diffusion/denoising_loop.h"
#include "core/diffusion/sample.h"
#include "core/sampling/samplers/compile_plan.h"
#include "tests/core/device/cpu_runtime.h"
#include "tests/support/class_conditions.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

using Plan = std::shared_ptr<const SamplerPlan>;

Schedule LinearSchedule() { return *Schedule::Create({}); }

Plan Compile(SamplerOptions options, const ScheduleOptions& schedule = {}) {
  return std::make_shared<const SamplerPlan>(*CompilePlan(*Schedule::Create(schedule), options));
}

// A network with a class-conditional mean per label, pictures of an awkward size.
GaussianNetwork ThreeClasses() {
  return GaussianNetwork(LinearSchedule(), {.means = {-0.5, 0.5, 0}, .deviation = 0.3}, 3, 5, 7);
}

std::vector<Plan> PlansOfManyKinds() {
  return {
      Compile({.sampler = SamplerKind::kDdpm, .steps = 9, .clip_sample = true}),
      Compile({.sampler = SamplerKind::kDdim, .steps = 7, .eta = 0.7}),
      Compile({.sampler = SamplerKind::kDpmSolverPlusPlus, .steps = 8, .solver_order = 3}),
      Compile({.sampler = SamplerKind::kSdeDpmSolverPlusPlus, .steps = 5}),
      Compile({.sampler = SamplerKind::kSdeDpmSolverPlusPlusSinglestep, .steps = 6}),
      Compile({.sampler = SamplerKind::kDeis, .steps = 7, .solver_order = 3}),
      Compile({.sampler = SamplerKind::kUniPc, .steps = 6, .solver_order = 3}),
      Compile({.sampler = SamplerKind::kEulerAncestral, .steps = 6}),
      Compile({.sampler = SamplerKind::kHeun, .steps = 4, .clip_sample = true}),
      Compile({.sampler = SamplerKind::kPndm, .steps = 4}),
      Compile({.sampler = SamplerKind::kPlms, .steps = 6}),
      Compile({.sampler = SamplerKind::kLcm, .steps = 4, .clip_sample = true}),
      Compile({.sampler = SamplerKind::kTcd, .steps = 4, .eta = 0.3}),
      Compile({.sampler = SamplerKind::kVpSde, .steps = 8}),
      Compile({.sampler = SamplerKind::kEuler,
               .steps = 5,
               .sigma_spacing = SigmaSpacing::kKarras,
               .s_churn = 2},
              EdmOptions{}),
      Compile({.sampler = SamplerKind::kConsistency,
               .steps = 3,
               .clip_sample = true,
               .sigma_spacing = SigmaSpacing::kKarras},
              EdmOptions{.sigma_max = 10, .num_train_timesteps = 40, .consistency_model = true}),
      Compile({.sampler = SamplerKind::kHeun,
               .steps = 3,
               .prediction_type = PredictionType::kFlowPrediction,
               .sigma_spacing = SigmaSpacing::kFlow},
              FlowOptions{.num_train_timesteps = 999}),
      Compile({.sampler = SamplerKind::kDdim,
               .steps = 10,
               .thresholding = true,
               .dynamic_thresholding_ratio = 0.9,
               .sample_max_value = 1.5}),
  };
}

// Unconditional, guided and blended ones, with every kind of guidance.
Conditioning MakeConditioning(int i) {
  Conditioning conditioning{.conditions = Classes({{i % 2}}), .unconditional = ClassCondition(2)};
  if (i % 5 == 2) conditioning.conditions = Classes({{0, 0.3}, {1, 0.7}});
  if (i % 7 == 3) conditioning.conditions = Classes({{2, 0.125}, {0, 0.375}, {1, 0.5}});
  Guidance& guidance = conditioning.guidance;
  if (i % 3 != 0) guidance.scale = 1.0 + 0.5 * i;
  if (i % 4 == 1) guidance.rescale = 0.7;
  if (i % 6 == 4) guidance.timesteps = {200, 800};
  if (i % 6 == 5) guidance.sigmas = {0.3, 5};
  return conditioning;
}

Trajectory MakeTrajectory(const std::vector<Plan>& plans, int i, const Network& network) {
  return Trajectory(plans[i % plans.size()], MakeConditioning(i), 100 + i, network.spec().sample,
                    *CpuRuntime());
}

void Evaluate(const std::vector<Trajectory*>& trajectories, const Network& network) {
  DenoisingLoop(network, CpuRuntime()).Evaluate(trajectories);
}

at::Tensor RunAlone(Trajectory trajectory, const Network& network) {
  while (!trajectory.done()) Evaluate({&trajectory}, network);
  return trajectory.x().clone();
}

TEST(RowBatch, AnImageDoesNotDependOnWhoSharesItsBatch) {
  const c10::InferenceMode inference;
  const GaussianNetwork network = ThreeClasses();
  const std::vector<Plan> plans = PlansOfManyKinds();
  std::vector<at::Tensor> alone;
  for (int i = 0; i < 24; ++i)
    alone.push_back(RunAlone(MakeTrajectory(plans, i, network), network));
  for (int count = 1; count <= 24; ++count) {
    std::vector<Trajectory> trajectories;
    for (int i = 0; i < count; ++i) trajectories.push_back(MakeTrajectory(plans, i, network));
    while (true) {  // trajectories leave as they finish
      std::vector<Trajectory*> running;
      for (Trajectory& trajectory : trajectories) {
        if (!trajectory.done()) running.push_back(&trajectory);
      }
      if (running.empty()) break;
      Evaluate(running, network);
    }
    for (int i = 0; i < count; ++i) {
      EXPECT_TRUE(trajectories[i].x().equal(alone[i])) << "image " << i << " of " << count;
    }
  }
}

// The rows of every evaluation on the way.
std::vector<int64_t> RowsOfEvaluations(const Plan& plan, const Conditioning& conditioning) {
  const GaussianNetwork network = ThreeClasses();
  Trajectory trajectory(plan, conditioning, 1, network.spec().sample, *CpuRuntime());
  std::vector<int64_t> rows;
  while (!trajectory.done()) {
    const int expected = trajectory.rows();
    RowBatch batch({&trajectory}, network, *CpuRuntime());
    rows.push_back(batch.input().x.size(0));
    EXPECT_EQ(rows.back(), expected);
    batch.Update(network.Forward(batch.input()));
  }
  return rows;
}

TEST(RowBatch, GuidedTrajectoriesTakeAnUnconditionalRowInsideTheirIntervalsOnly) {
  const Plan plan =
      Compile({.sampler = SamplerKind::kDdim, .steps = 4});  // timesteps 750, 500, 250, 0
  Conditioning conditioning{.conditions = Classes({{0}}), .unconditional = ClassCondition(2)};
  conditioning.guidance = {.scale = 3, .timesteps = {250, 500}};
  EXPECT_EQ(RowsOfEvaluations(plan, conditioning), (std::vector<int64_t>{1, 2, 2, 1}));
  const Evaluation& at_500 = plan->evaluations[1];
  conditioning.guidance = {.scale = 3, .sigmas = {.max = at_500.sigma / at_500.alpha}};
  EXPECT_EQ(RowsOfEvaluations(plan, conditioning), (std::vector<int64_t>{1, 2, 2, 2}));
  conditioning.conditions = Classes({{0, 0.5}, {1, 0.5}});
  EXPECT_EQ(RowsOfEvaluations(plan, conditioning), (std::vector<int64_t>{2, 3, 3, 3}));
}

TEST(RowBatch, LaysOutTheRowsOfATrajectoryTogether) {
  const GaussianNetwork network = ThreeClasses();
  const Plan plan = Compile({.sampler = SamplerKind::kDdim, .steps = 1, .timesteps = {500}});
  const Plan later = Compile({.sampler = SamplerKind::kDdim, .steps = 1, .timesteps = {100}});
  Trajectory blended(plan,
                     {.conditions = Classes({{1, 0.5}, {0, 0.5}}),
                      .unconditional = ClassCondition(2),
                      .guidance = {.scale = 2}},
                     1, network.spec().sample, *CpuRuntime());
  Trajectory plain(later, {.conditions = Classes({{1}}), .unconditional = ClassCondition(2)}, 2,
                   network.spec().sample, *CpuRuntime());
  const RowBatch batch({&blended, &plain}, network, *CpuRuntime());
  EXPECT_TRUE(batch.input().conditions.class_labels.equal(at::tensor({1, 0, 2, 1}, at::kLong)));
  EXPECT_TRUE(batch.input().timesteps.equal(at::tensor({500.f, 500.f, 500.f, 100.f})));
  EXPECT_TRUE(batch.input().x[2].equal(blended.x()));
  EXPECT_TRUE(batch.input().x[3].equal(plain.x()));
}

// One evaluation at timestep 500: the predicted x0, and what it should be for the prediction that
// `expected` makes of the network's rows.
void ExpectPrediction(const Conditioning& conditioning,
                      const std::function<at::Tensor(const at::Tensor& rows)>& expected) {
  const GaussianNetwork network = ThreeClasses();
  const Plan plan = Compile({.sampler = SamplerKind::kDdim, .steps = 1, .timesteps = {500}});
  Trajectory trajectory(plan, conditioning, 1, network.spec().sample, *CpuRuntime());
  const at::Tensor x = trajectory.x().clone();
  RowBatch batch({&trajectory}, network, *CpuRuntime());
  const at::Tensor output = network.Forward(batch.input());
  const at::Tensor x0 = batch.Update(output)[0];
  const Schedule schedule = LinearSchedule();
  const at::Tensor of_m = (x - schedule.sigma(500) * expected(output)) / schedule.alpha(500);
  EXPECT_TRUE(x0.allclose(of_m, 1e-5, 1e-5));
}

TEST(RowBatch, GuidanceExtrapolatesFromTheUnconditionalPrediction) {
  ExpectPrediction(
      {.conditions = Classes({{0}}), .unconditional = ClassCondition(2), .guidance = {.scale = 4}},
      [](const at::Tensor& rows) { return rows[1] + 4 * (rows[0] - rows[1]); });
}

TEST(RowBatch, ClassWeightsBlendTheConditionalPredictions) {
  ExpectPrediction({.conditions = Classes({{0, 0.25}, {1, 0.75}})},
                   [](const at::Tensor& rows) { return 0.25 * rows[0] + 0.75 * rows[1]; });
}

TEST(RowBatch, GuidanceExtrapolatesToTheBlend) {
  ExpectPrediction({.conditions = Classes({{0, 0.25}, {1, 0.75}}),
                    .unconditional = ClassCondition(2),
                    .guidance = {.scale = 3}},
                   [](const at::Tensor& rows) {
                     return rows[2] + 3 * (0.25 * rows[0] + 0.75 * rows[1] - rows[2]);
                   });
}

TEST(RowBatch, RescaledGuidanceHasTheContrastOfTheConditionalPrediction) {
  const Conditioning conditioning{.conditions = Classes({{0}}),
                                  .unconditional = ClassCondition(2),
                                  .guidance = {.scale = 4, .rescale = 1}};
  ExpectPrediction(conditioning, [](const at::Tensor& rows) {
    const at::Tensor m = rows[1] + 4 * (rows[0] - rows[1]);
    return m * (rows[0].std() / m.std());
  });
}

TEST(RowBatch, ARowThatIsNotFiniteDoesNotTouchItsNeighbours) {
  const GaussianNetwork network = ThreeClasses();
  const std::vector<Plan> plans = PlansOfManyKinds();
  Trajectory healthy = MakeTrajectory(plans, 2, network),
             broken = MakeTrajectory(plans, 4, network);
  Trajectory alone = MakeTrajectory(plans, 2, network);
  broken.Advance(broken.slots() * std::numeric_limits<float>::quiet_NaN());
  Evaluate({&broken, &healthy}, network);
  Evaluate({&alone}, network);
  EXPECT_TRUE(healthy.slots().equal(alone.slots()));
  EXPECT_TRUE(healthy.slots().isfinite().all().item<bool>());
}

TEST(RowBatch, ClippedPredictionsStayInRange) {
  const GaussianNetwork network(LinearSchedule(), {.means = {3}, .deviation = 1}, 1, 8, 8);
  Trajectory clipped(Compile({.sampler = SamplerKind::kDdim, .steps = 5, .clip_sample = true}), {},
                     3, network.spec().sample, *CpuRuntime());
  RowBatch batch({&clipped}, network, *CpuRuntime());
  const at::Tensor x0 = batch.Update(network.Forward(batch.input()));
  EXPECT_LE(x0.abs().max().item<float>(), 1);
  EXPECT_EQ(x0.max().item<float>(), 1);
}

// Predicts zeros; the second half of its channels, v, is v + the row's class label.
class ConstantNetwork : public Network {
 public:
  explicit ConstantNetwork(float v) : v_(v) {}
  const NetworkSpec& spec() const override { return spec_; }
  at::Device device() const override { return at::kCPU; }
  at::ScalarType dtype() const override { return at::kFloat; }
  at::Tensor Forward(const NetworkInput& input) const override {
    return at::cat({at::Tensor(input.x * 0),
                    input.x * 0 + (v_ + input.conditions.class_labels.view({-1, 1, 1, 1}))},
                   1);
  }
  std::shared_ptr<const Network> To(at::Device, at::ScalarType) const override { return nullptr; }

 private:
  const float v_;
  const NetworkSpec spec_{.sample = {1, 4, 4}, .out_channels = 2, .num_class_embeds = 4};
};

at::Tensor NoiseOfOneStep(const NoiseScale& scale, float v, const Conditioning& conditioning = {}) {
  SamplerPlan plan;
  Evaluation evaluation;
  evaluation.update = SmallMatrix(1, 3);  // zero: only the noise is left
  evaluation.noise = scale;
  plan.evaluations = {evaluation};
  const ConstantNetwork network(v);
  Trajectory trajectory(std::make_shared<const SamplerPlan>(plan), conditioning, 5,
                        network.spec().sample, *CpuRuntime());
  Evaluate({&trajectory}, network);
  return trajectory.x().clone();
}

TEST(RowBatch, LearnedVarianceScalesTheNoise) {
  const at::Tensor unit = NoiseOfOneStep(1.0, 0);
  const double low = std::log(0.01), high = std::log(0.09);
  const LearnedRange range{.log_variance_min = low, .log_variance_max = high};
  EXPECT_TRUE(NoiseOfOneStep(range, -1).allclose(unit * 0.1, 1e-5));
  EXPECT_TRUE(NoiseOfOneStep(range, 1).allclose(unit * 0.3, 1e-5));
  EXPECT_TRUE(NoiseOfOneStep(range, 0).allclose(unit * std::exp(0.25 * (low + high)), 1e-5));
  EXPECT_TRUE(NoiseOfOneStep(LearnedVariance{}, 0.25).allclose(unit * 0.5, 1e-5));
}

TEST(RowBatch, LearnedVarianceIsBlendedAndNotGuided) {
  const at::Tensor unit = NoiseOfOneStep(1.0, 0);
  const Conditioning conditioning{.conditions = Classes({{1, 0.25}, {3, 0.75}}),
                                  .unconditional = ClassCondition(0),
                                  .guidance = {.scale = 5}};
  EXPECT_TRUE(NoiseOfOneStep(LearnedVariance{}, 0, conditioning)
                  .allclose(unit * std::sqrt(0.25 * 1 + 0.75 * 3), 1e-5));
}

TEST(ApplyDynamicThreshold, ClipsToTheQuantileOfTorchBitForBit) {
  NoiseSource source(5);
  for (int64_t size : {1, 2, 3, 10, 199, 3 * 64 * 64, 3 * 256 * 255}) {
    const at::Tensor x0 = 3 * source.Draw({1, size, 1});
    for (double ratio : {0.001, 0.3, 0.5, 0.9, 0.995, 1.0}) {
      const at::Tensor s = at::quantile(x0.abs().flatten(), ratio).clamp(1, 100);
      EXPECT_TRUE(ApplyDynamicThreshold(x0, {.ratio = ratio, .max_value = 100})
                      .equal(at::minimum(at::maximum(x0, -s), s) / s))
          << ratio << " of " << size;
    }
  }
}

// at::quantile takes at most 16,777,216 values.
TEST(ApplyDynamicThreshold, TakesPicturesOfAnySize) {
  const at::Tensor x0 = at::linspace(-4, 0, (1 << 24) + 3);
  for (double ratio : {0.5, 1.0}) {
    const at::Tensor clipped = ApplyDynamicThreshold(x0, {.ratio = ratio, .max_value = 100});
    const double s = 4 * ratio;
    EXPECT_EQ(clipped[0].item<float>(), -1);
    EXPECT_NEAR(clipped[(1 << 24) - (1 << 22)].item<float>(), -1 / s, 1e-6);
  }
}

TEST(NoiseSource, DrawsWhatATorchGeneratorDraws) {
  // torch.Generator().manual_seed(0); torch.randn(4, 3, 8, 8), its first values.
  const at::Tensor noise = NoiseSource(0).Draw({4, 3, 8, 8}).flatten();
  EXPECT_FLOAT_EQ(noise[0].item<float>(), -1.1258398f);
  EXPECT_FLOAT_EQ(noise[1].item<float>(), -1.1523602f);
  EXPECT_FLOAT_EQ(noise[2].item<float>(), -0.2505786f);
}

// For Gaussian data the flow of the exact denoiser is known: x0 = mean + deviation * (x_T - alpha
// mean) / total.
TEST(Sample, ManyStepsReachTheExactSolutionOfTheGaussian) {
  const GaussianNetwork network(LinearSchedule(), {.means = {0.25}, .deviation = 0.5}, 1, 8, 8);
  SamplerOptions options{.sampler = SamplerKind::kDpmSolverPlusPlus, .steps = 200};
  options.timestep_spacing = TimestepSpacing::kLinspace;
  const at::Tensor x0 = Sample(network, Compile(options), {{.seed = 3, .conditioning = {}}})[0];
  const at::Tensor x_T = NoiseSource(3).Draw({1, 8, 8});
  const double alpha = LinearSchedule().alpha(999), sigma = LinearSchedule().sigma(999);
  const double total = std::sqrt(alpha * alpha * 0.25 + sigma * sigma);
  EXPECT_LT((x0 - (0.25 + 0.5 * (x_T - alpha * 0.25) / total)).abs().max().item<float>(), 5e-3);
}

}  // namespace
}  // namespace denoise
