// The variational bound against the same terms of the reference implementation.
#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/diffusion/bits_per_dim.h"
#include "core/diffusion/noise_source.h"
#include "core/sampling/samplers/compile_plan.h"
#include "core/sampling/samplers/timestep_spacing.h"
#include "tests/support/vlb_reference.h"

namespace denoise {
namespace {

constexpr double kTolerance = 1e-4;  // relative

// The reference values are computed in float32, where (log ratio - 1 + ratio) / 2 of a KL
// divergence that is all but 0 has this absolute error, in bits.
constexpr double kKlRounding = 2e-7;

void ExpectNear(const at::Tensor& actual, const std::vector<double>& expected, const char* what,
                double rounding = 0) {
  ASSERT_EQ(actual.numel(), static_cast<int64_t>(expected.size())) << what;
  for (int64_t i = 0; i < actual.numel(); ++i) {
    const double value = expected[static_cast<size_t>(i)];
    EXPECT_NEAR(actual[i].item<double>(), value, kTolerance * std::abs(value) + rounding)
        << what << " " << i;
  }
}

std::vector<VlbCase> CasesWith(const char* field) {
  std::vector<VlbCase> cases = LoadVlbCases();
  std::erase_if(cases, [&](const VlbCase& reference) { return !reference.values.contains(field); });
  return cases;
}

VariationalBound BoundOf(const VlbCase& reference, bool clip_x0) {
  return *VariationalBound::Create(*Schedule::Create(reference.schedule()),
                                   {.prediction_type = reference.prediction_type(),
                                    .variance_type = reference.variance_type(),
                                    .clip_x0 = clip_x0});
}

// What p(x_s | x_t) the case's network stands for. One that predicts x_s says its mean as it is.
Gaussian Reverse(const VariationalBound& bound, const VlbCase& reference, const at::Tensor& x_t) {
  const VlbNetwork network(reference.variance_type());
  const at::Tensor timesteps = at::tensor(kVlbTimesteps).to(at::kFloat);
  const at::Tensor output = network.Forward({x_t, timesteps, {}});
  Gaussian x_s = bound.Predict(output, x_t, kVlbTimesteps).x_s;
  if (reference.mean() == "PREVIOUS_X") x_s.mean = output.narrow(1, 0, 3).to(at::kDouble);
  return x_s;
}

// The terms, whose first row is L_0. In float32 a distribution function near 1 has no digits left
// for a pixel 5 to 8 deviations out, which the reference takes for impossible; ours is in double,
// and only agrees to the last digit once it is asked in float32, too.
void ExpectTerms(const at::Tensor& terms, const Gaussian& x_s, std::vector<double> expected,
                 const char* what) {
  const at::Tensor x0 = VlbPictures();
  const Gaussian decoder = {x_s.mean.to(at::kFloat), x_s.variance.to(at::kFloat)};
  const at::Tensor bits = -DecoderLogLikelihood(x0, decoder).flatten(1).mean(1) / std::log(2.0);
  EXPECT_NEAR(bits[0].item<double>(), expected[0], kTolerance * expected[0]) << what;
  EXPECT_NEAR(terms[0].item<double>(), expected[0], 3e-3 * expected[0]) << what;
  expected.erase(expected.begin());
  ExpectNear(terms.slice(0, 1), expected, what, kKlRounding);
}

class VariationalBoundReference : public testing::TestWithParam<VlbCase> {};

TEST_P(VariationalBoundReference, HasTheSameTerms) {
  const VlbCase& reference = GetParam();
  const VariationalBound clipped = BoundOf(reference, true), bound = BoundOf(reference, false);
  const at::Tensor x0 = VlbPictures();
  const at::Tensor x_t = bound.process().Marginal(x0, kVlbTimesteps).At(VlbNoise());
  const Gaussian reverse = Reverse(bound, reference, x_t);
  const at::Tensor term = bound.Term(x0, x_t, kVlbTimesteps, reverse);
  if (!reference.values.contains("mse")) {
    ExpectTerms(term, reverse, reference.Numbers("loss"), "L_vlb");
    return;
  }
  ExpectNear(bound.Prior(x0), reference.Numbers("prior_bpd"), "prior");
  if (reference.learned()) ExpectTerms(term, reverse, reference.Numbers("vb"), "vb");
  const Gaussian clipped_reverse = Reverse(clipped, reference, x_t);
  ExpectTerms(clipped.Term(x0, x_t, kVlbTimesteps, clipped_reverse), clipped_reverse,
              reference.Numbers("vb_terms_bpd_clip"), "clipped vb");
}

INSTANTIATE_TEST_SUITE_P(AllCases, VariationalBoundReference, testing::ValuesIn(CasesWith("loss")),
                         [](const auto& instance) { return instance.param.name(); });

class ReverseGaussianReference : public VariationalBoundReference {};

TEST_P(ReverseGaussianReference, HasTheSameMoments) {
  const VlbCase& reference = GetParam();
  const VariationalBound bound = BoundOf(reference, true);
  const at::Tensor x_t = bound.process().Marginal(VlbPictures(), kVlbTimesteps).At(VlbNoise());
  const Gaussian reverse = Reverse(bound, reference, x_t);
  const auto row_sums = [&](const at::Tensor& x) { return x.expand_as(x_t).flatten(1).sum(1); };
  ExpectNear(row_sums(reverse.mean.abs()), reference.Numbers("p_mean_abs_sum"), "mean");
  ExpectNear(row_sums(at::log(reverse.variance)), reference.Numbers("p_log_variance_sum"),
             "log variance");
}

INSTANTIATE_TEST_SUITE_P(AllCases, ReverseGaussianReference,
                         testing::ValuesIn(CasesWith("p_mean_abs_sum")),
                         [](const auto& instance) { return instance.param.name(); });

class BitsPerDimReference : public testing::TestWithParam<VlbCase> {};

TEST_P(BitsPerDimReference, HasTheSameParts) {
  const VlbCase& reference = GetParam();
  std::vector<double> timesteps = reference.Numbers("timestep_map");
  std::reverse(timesteps.begin(), timesteps.end());
  const VariationalBound bound = *VariationalBound::Create(
      *Schedule::Create(reference.schedule()),
      {.variance_type = reference.variance_type(), .clip_x0 = true}, timesteps);
  NoiseSource noise(0);
  BitsPerDimRun run(bound, VlbPictures(), {},
                    [&](at::IntArrayRef shape) { return noise.Draw(shape); });
  const VlbNetwork network(reference.variance_type());
  while (!run.done()) run.Advance(network);
  const BitsPerDim result = run.Result();
  ExpectNear(result.total, reference.Numbers("total_bpd"), "total");
  ExpectNear(result.prior, reference.Numbers("prior_bpd"), "prior");
  ExpectNear(result.vb.mean(0), reference.Numbers("vb_batch_mean_by_column"), "vb", kKlRounding);
  ExpectNear(result.epsilon_mse.mean().view({1}), {reference.values.at("mse_mean")}, "mse");
  ExpectNear(result.x0_mse.mean().view({1}), {reference.values.at("xstart_mse_mean")}, "x0 mse");
}

// The same network sampled along the same timesteps, starting from the pictures.
double AbsSumOfSample(const VlbCase& reference, SamplerKind sampler) {
  SamplerOptions options = {.sampler = sampler,
                            .timesteps = reference.Numbers("timestep_map"),
                            .clip_sample = true,
                            .variance_type = reference.variance_type(),
                            .use_clipped_model_output = true};
  std::reverse(options.timesteps.begin(), options.timesteps.end());
  const SamplerPlan plan = *CompilePlan(*Schedule::Create(reference.schedule()), options);
  const VlbNetwork network(reference.variance_type());
  NoiseSource noise(0);
  at::Tensor x = VlbPictures();
  for (const Evaluation& e : plan.evaluations) {
    const at::Tensor m = network.Forward({x, at::full({4}, e.timestep, x.options()), {}});
    const at::Tensor x0 = at::clamp(e.x0_from_state * x + e.x0_from_output * m, -1, 1);
    x = e.update(0, 0) * x + e.update(0, 1) * x0 + e.update(0, 2) * m +
        std::get<double>(e.noise) * noise.Draw(x.sizes());
  }
  return x.abs().sum().item<double>();
}

TEST_P(BitsPerDimReference, SamplersAlongItsTimestepsMakeTheSamePictures) {
  const double ddpm = GetParam().values.at("p_sample_loop_abs_sum");
  const double ddim = GetParam().values.at("ddim_sample_loop_abs_sum");
  EXPECT_NEAR(AbsSumOfSample(GetParam(), SamplerKind::kDdpm), ddpm, kTolerance * ddpm);
  EXPECT_NEAR(AbsSumOfSample(GetParam(), SamplerKind::kDdim), ddim, kTolerance * ddim);
}

INSTANTIATE_TEST_SUITE_P(AllLoops, BitsPerDimReference, testing::ValuesIn(CasesWith("total_bpd")),
                         [](const auto& instance) { return instance.param.name(); });

TEST(SectionTimestepsReference, ChoosesTheSameTimesteps) {
  const nlohmann::json spacings = LoadVlbReference().at("space_timesteps");
  const auto ascending = [](std::vector<double> timesteps) {
    std::reverse(timesteps.begin(), timesteps.end());
    return timesteps;
  };
  EXPECT_EQ(ascending(*SectionTimesteps(1000, {10})), spacings.at("1000,10"));
  EXPECT_EQ(ascending(*SectionTimesteps(4000, {25})), spacings.at("4000,25"));
  EXPECT_EQ(ascending(*SectionTimesteps(300, {10, 15, 20})), spacings.at("300,10,15,20"));
  // "ddim25" is what leading spacing chooses.
  EXPECT_EQ(ascending(*SpaceTimesteps({1000, 1000, false}, {.steps = 25})),
            spacings.at("1000,ddim25"));
}

}  // namespace
}  // namespace denoise
