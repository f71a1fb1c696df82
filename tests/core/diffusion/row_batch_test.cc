#include "core/diffusion/row_batch.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/diffusion/sample.h"
#include "core/sampling/compile_plan.h"
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

Trajectory MakeTrajectory(const std::vector<Plan>& plans, int i, const Network& network) {
  const Conditioning conditioning{.class_label = i % 2,
                                  .null_class_label = 2,
                                  .guidance = {.scale = i % 3 == 0 ? 1.0 : 1.0 + 0.5 * i}};
  return Trajectory(plans[i % plans.size()], conditioning, 100 + i, network);
}

void Evaluate(const std::vector<Trajectory*>& trajectories, const Network& network) {
  RowBatch batch(trajectories, network);
  batch.Update(network.Forward(batch.input()));
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

TEST(RowBatch, GuidedTrajectoriesTakeASecondRowInsideTheIntervalOnly) {
  const GaussianNetwork network = ThreeClasses();
  const Plan plan =
      Compile({.sampler = SamplerKind::kDdim, .steps = 4});  // timesteps 750, 500, 250, 0
  const Conditioning conditioning{
      .class_label = 0,
      .null_class_label = 2,
      .guidance = {.scale = 3, .timestep_min = 250, .timestep_max = 500}};
  EXPECT_EQ(MaxRows(conditioning, *plan), 2);
  Trajectory trajectory(plan, conditioning, 1, network);
  std::vector<int64_t> rows;
  while (!trajectory.done()) {
    RowBatch batch({&trajectory}, network);
    rows.push_back(batch.input().x.size(0));
    batch.Update(network.Forward(batch.input()));
  }
  EXPECT_EQ(rows, (std::vector<int64_t>{1, 2, 2, 1}));
}

TEST(RowBatch, GuidanceExtrapolatesFromTheUnconditionalPrediction) {
  const GaussianNetwork network = ThreeClasses();
  const Plan plan = Compile({.sampler = SamplerKind::kDdim, .steps = 1, .timesteps = {500}});
  Trajectory trajectory(plan, {.class_label = 0, .null_class_label = 2, .guidance = {.scale = 4}},
                        1, network);
  const at::Tensor x = trajectory.x().clone();
  RowBatch batch({&trajectory}, network);
  const at::Tensor output = network.Forward(batch.input());
  const at::Tensor x0 = batch.Update(output)[0];
  const at::Tensor m = output[1] + 4 * (output[0] - output[1]);
  const Schedule schedule = LinearSchedule();
  const at::Tensor expected = (x - schedule.sigma(500) * m) / schedule.alpha(500);
  EXPECT_TRUE(x0.allclose(expected, 1e-5, 1e-5));
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
                     3, network);
  RowBatch batch({&clipped}, network);
  const at::Tensor x0 = batch.Update(network.Forward(batch.input()));
  EXPECT_LE(x0.abs().max().item<float>(), 1);
  EXPECT_EQ(x0.max().item<float>(), 1);
}

// Learned variance: the network's second half, v, blends two log variances (or is the variance).
class ConstantNetwork : public Network {
 public:
  explicit ConstantNetwork(float v) : v_(v) {}
  const NetworkSpec& spec() const override { return spec_; }
  at::Device device() const override { return at::kCPU; }
  at::ScalarType dtype() const override { return at::kFloat; }
  at::Tensor Forward(const NetworkInput& input) const override {
    return at::cat({at::Tensor(input.x * 0), input.x * 0 + v_}, 1);
  }
  std::shared_ptr<const Network> To(at::Device, at::ScalarType) const override { return nullptr; }

 private:
  const float v_;
  const NetworkSpec spec_{.in_channels = 1, .out_channels = 2, .height = 4, .width = 4};
};

at::Tensor NoiseOfOneStep(const NoiseScale& scale, float v) {
  SamplerPlan plan;
  Evaluation evaluation;
  evaluation.update = SmallMatrix(1, 3);  // zero: only the noise is left
  evaluation.noise = scale;
  plan.evaluations = {evaluation};
  const ConstantNetwork network(v);
  Trajectory trajectory(std::make_shared<const SamplerPlan>(plan), {}, 5, network);
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
