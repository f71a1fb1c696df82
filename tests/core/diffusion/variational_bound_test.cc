#include "core/diffusion/variational_bound.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/round.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <utility>

#include "core/base/field_violations.h"
#include "core/diffusion/bits_per_dim.h"
#include "core/diffusion/noise_source.h"
#include "core/sampling/samplers/timestep_spacing.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::Field;

Schedule LinearSchedule(int timesteps = 1000) {
  return *Schedule::Create(VpOptions{.num_train_timesteps = timesteps});
}

at::Tensor Pixel(double value) { return at::full({1, 1, 1, 1}, value, at::kDouble); }

TEST(KlDivergence, IsThatOfTwoGaussians) {
  const Gaussian q = {Pixel(0.3), Pixel(0.5)}, p = {Pixel(-0.2), Pixel(2)};
  const double expected = 0.5 * (std::log(2 / 0.5) - 1 + (0.5 + 0.25) / 2);
  EXPECT_NEAR(KlDivergence(q, p).item<double>(), expected, 1e-12);
  EXPECT_NEAR(KlDivergence(q, q).item<double>(), 0, 1e-12);
}

// Whatever the Gaussian: the outermost bins are open.
TEST(DecoderLogLikelihood, SumsToOneOverThePixelValues) {
  const at::Tensor values = at::arange(256, at::kDouble) / 127.5 - 1;
  for (const auto& [mean, deviation] : {std::pair(0.1, 0.02), {0.99, 0.3}, {-3.0, 1.0}}) {
    const Gaussian p = {at::full({256}, mean, at::kDouble),
                        at::full({256}, deviation * deviation, at::kDouble)};
    const double sum = at::exp(DecoderLogLikelihood(values, p)).sum().item<double>();
    EXPECT_NEAR(sum, 1, 1e-9) << mean << " " << deviation;
  }
}

TEST(DecoderLogLikelihood, IsTheDensityTimesTheBinWhereBinsAreSmall) {
  const Gaussian p = {Pixel(0.1), Pixel(0.09)};
  const double density =
      std::exp(-0.5 * 0.16 / 0.09) / std::sqrt(2 * M_PI * 0.09);  // 0.4 off the mean
  // The approximated distribution function costs up to 1 % of a probability.
  EXPECT_NEAR(DecoderLogLikelihood(Pixel(0.5), p).item<double>(), std::log(density * 2 / 255),
              0.01);
}

at::Tensor Noise(at::IntArrayRef shape, uint64_t seed = 1) { return NoiseSource(seed).Draw(shape); }

// Pictures, the same with noise, and where in the schedule the rows are.
struct Batch {
  at::Tensor x0 = Noise({4, 2, 3, 3}, 2).clamp(-1, 1);
  std::vector<double> t = {0, 1, 500, 999};

  at::Tensor x_t(const VariationalBound& bound) const {
    return bound.process().Marginal(x0, t).At(Noise(x0.sizes()));
  }
};

TEST(VariationalBound, TermsOfAModelThatKnowsThePictureAreZero) {
  const VariationalBound bound =
      *VariationalBound::Create(LinearSchedule(), {.prediction_type = PredictionType::kSample});
  const Batch batch;
  const at::Tensor x_t = batch.x_t(bound);
  const at::Tensor terms =
      bound.Term(batch.x0, x_t, batch.t, bound.Predict(batch.x0, x_t, batch.t).x_s);
  EXPECT_LT(terms.slice(0, 1).abs().max().item<double>(), 1e-12);
  EXPECT_GT(terms[0].item<double>(), 0.1);  // a pixel is wider than the last step's noise
}

TEST(VariationalBound, PredictionTypesAgree) {
  const Batch batch;
  const Schedule schedule = LinearSchedule();
  const auto terms = [&](PredictionType type) {
    const VariationalBound bound = *VariationalBound::Create(schedule, {.prediction_type = type});
    const at::Tensor x_t = batch.x_t(bound).to(at::kDouble), x0 = 0.9 * batch.x0.to(at::kDouble);
    at::Tensor output = x0.clone();
    for (int64_t row = 0; row < 4; ++row) {
      const NoiseLevel level = schedule.LevelAt(batch.t[row]);
      const at::Tensor epsilon = (x_t[row] - level.alpha * x0[row]) / level.sigma;
      if (type == PredictionType::kEpsilon) output[row].copy_(epsilon);
      if (type == PredictionType::kVPrediction)
        output[row].copy_(level.alpha * epsilon - level.sigma * x0[row]);
    }
    return bound.Term(batch.x0, x_t, batch.t, bound.Predict(output, x_t, batch.t).x_s);
  };
  const at::Tensor of_sample = terms(PredictionType::kSample);
  EXPECT_TRUE(terms(PredictionType::kEpsilon).allclose(of_sample, 1e-9));
  EXPECT_TRUE(terms(PredictionType::kVPrediction).allclose(of_sample, 1e-9));
}

at::Tensor VarianceOf(VarianceType type, double v) {
  const Batch batch;
  const VariationalBound bound =
      *VariationalBound::Create(LinearSchedule(), {.variance_type = type});
  const at::Tensor x_t = batch.x_t(bound);
  const at::Tensor output = at::cat({x_t, at::full_like(x_t, v)}, 1);
  return bound.Predict(output, x_t, batch.t).x_s.variance.expand_as(x_t);
}

TEST(VariationalBound, TheLearnedRangeLiesBetweenTheFixedVariances) {
  const at::Tensor small = VarianceOf(VarianceType::kFixedSmall, 0);
  const at::Tensor large = VarianceOf(VarianceType::kFixedLarge, 0);
  EXPECT_TRUE(VarianceOf(VarianceType::kLearnedRange, -1).allclose(small, 1e-12));
  // At the first timestep the large one is the small one, too.
  EXPECT_TRUE(VarianceOf(VarianceType::kLearnedRange, 1).slice(0, 1).allclose(large.slice(0, 1)));
  EXPECT_TRUE(large[0].equal(small[0]));
  EXPECT_TRUE(VarianceOf(VarianceType::kLearnedRange, 0)
                  .slice(0, 1)
                  .allclose((small * large).sqrt().slice(0, 1), 1e-12));
}

TEST(VariationalBound, ALearnedVarianceIsReadAsSamplersReadIt) {
  EXPECT_TRUE((VarianceOf(VarianceType::kLearned, 0.25) == 0.25).all().item<bool>());
}

TEST(VariationalBound, ZeroTerminalSnrIsFiniteWhereTheNetworkPredictsV) {
  const Schedule schedule = *Schedule::Create(VpOptions{.rescale_betas_zero_snr = true});
  const VariationalBound bound =
      *VariationalBound::Create(schedule, {.prediction_type = PredictionType::kVPrediction});
  const Batch batch;
  const at::Tensor x_t = batch.x_t(bound);
  const at::Tensor terms = bound.Term(batch.x0, x_t, batch.t, bound.Predict(x_t, x_t, batch.t).x_s);
  EXPECT_TRUE(terms.isfinite().all().item<bool>());
  EXPECT_LT(bound.Prior(batch.x0).abs().max().item<double>(), 1e-12);
}

TEST(VariationalBound, GradientsAreThoseOfTheTerms) {
  const VariationalBound bound =
      *VariationalBound::Create(LinearSchedule(), {.variance_type = VarianceType::kLearnedRange});
  const Batch batch;
  const at::Tensor x_t = batch.x_t(bound);
  const at::Tensor output =
      at::cat({Noise(x_t.sizes()), Noise(x_t.sizes(), 3).tanh()}, 1).to(at::kDouble);
  const auto terms = [&](const at::Tensor& answer) {
    return bound.Term(batch.x0, x_t, batch.t, bound.Predict(answer, x_t, batch.t).x_s);
  };
  at::Tensor leaf = output.clone().requires_grad_();
  terms(leaf).sum().backward();
  const at::Tensor direction = Noise(output.sizes(), 4).to(at::kDouble);
  const double step = 1e-5;
  const at::Tensor numerical =
      (terms(output + step * direction) - terms(output - step * direction)) / (2 * step);
  const at::Tensor exact = (leaf.grad() * direction).flatten(1).sum(1);
  EXPECT_TRUE(exact.allclose(numerical, 1e-6)) << exact << numerical;
  EXPECT_GT(exact.abs().min().item<double>(), 0);
}

template <class Value>
auto Violates(const absl::StatusOr<Value>& result, const char* field) {
  return testing::Matches(ElementsAre(Field(&FieldViolation::field, field)))(
      GetFieldViolations(result.status()));
}

TEST(VariationalBound, IsRefusedWhereThereIsNone) {
  const Schedule schedule = LinearSchedule(), flow = *Schedule::Create(FlowOptions{});
  EXPECT_TRUE(Violates(VariationalBound::Create(flow, {}), "schedule"));
  EXPECT_TRUE(Violates(VariationalBound::Create(*Schedule::Create(EdmOptions{}), {}), "schedule"));
  EXPECT_TRUE(Violates(
      VariationalBound::Create(schedule, {.prediction_type = PredictionType::kFlowPrediction}),
      "prediction_type"));
  EXPECT_TRUE(Violates(VariationalBound::Create(schedule, {}, {1000, 1}), "timesteps[0]"));
  EXPECT_TRUE(Violates(VariationalBound::Create(schedule, {}, {9, 1.5}), "timesteps[1]"));
  EXPECT_TRUE(Violates(VariationalBound::Create(schedule, {}, {9, 9}), "timesteps[1]"));
  const Schedule zero_snr = *Schedule::Create(VpOptions{.rescale_betas_zero_snr = true});
  EXPECT_TRUE(Violates(VariationalBound::Create(zero_snr, {}), "prediction_type"));
  EXPECT_TRUE(VariationalBound::Create(zero_snr, {}, {998, 1}).ok());
}

// Pixels of a Gaussian, as 8-bit values.
struct GaussianPictures {
  GaussianData data = {.means = {0}, .deviation = 0.25};
  at::Tensor x0 = at::round(Noise({32, 1, 8, 8}) * 0.25 * 127.5 + 127.5).clamp(0, 255) / 127.5 - 1;
  double variance = 0.25 * 0.25 + 1 / (127.5 * 127.5 * 12);  // that of rounding besides
};

BitsPerDim Measure(const VariationalBound& bound, const Network& network, const at::Tensor& x0,
                   const std::vector<uint64_t>& seeds) {
  BitsPerDimRun run(bound, x0, {}, NoiseOfSeeds(seeds));
  while (!run.done()) run.Advance(network);
  return run.Result();
}

std::vector<uint64_t> Seeds(int64_t count) {
  std::vector<uint64_t> seeds;
  for (int64_t i = 0; i < count; ++i) seeds.push_back(100 + static_cast<uint64_t>(i));
  return seeds;
}

// E |x0 - E[x0 | x_t]|^2 is known, and with it every term but L_0.
TEST(BitsPerDim, OfTheExactDenoiserHasItsExpectedTerms) {
  const GaussianPictures pictures;
  const Schedule schedule = LinearSchedule();
  const VariationalBound bound =
      *VariationalBound::Create(schedule, {}, *SectionTimesteps(1000, {50}));
  const GaussianNetwork network(schedule, pictures.data, 1, 8, 8);
  const BitsPerDim result = Measure(bound, network, pictures.x0, Seeds(32));
  for (size_t i = 0; i + 1 < bound.timesteps().size(); ++i) {
    const double t = bound.timesteps()[i], s = bound.timesteps()[i + 1];
    const NoiseLevel level = schedule.LevelAt(t);
    const double noised = std::pow(level.alpha, 2) * pictures.variance + std::pow(level.sigma, 2);
    const double error = pictures.variance * std::pow(level.sigma, 2) / noised;
    const Gaussian posterior = bound.process().Posterior(Pixel(1), Pixel(0), {s}, {t});
    const double from_x0 = posterior.mean.item<double>();
    const double expected =
        0.5 * from_x0 * from_x0 * error / posterior.variance.item<double>() / std::log(2.0);
    // Five standard errors of the mean of 2048 squares.
    const int64_t column = static_cast<int64_t>(i);
    const double tolerance = 5 * std::sqrt(2.0 / 2048);
    EXPECT_NEAR(result.vb.select(1, column).mean().item<double>(), expected, tolerance * expected);
    EXPECT_NEAR(result.x0_mse.select(1, column).mean().item<double>(), error, tolerance * error);
    const double epsilon_error = error * std::pow(level.alpha / level.sigma, 2);
    EXPECT_NEAR(result.epsilon_mse.select(1, column).mean().item<double>(), epsilon_error,
                tolerance * epsilon_error);
  }
}

// The rest is the variance of L_0, half of what it should be, and that the steps are finite.
TEST(BitsPerDim, OfTheExactDenoiserIsAllButTheEntropy) {
  const GaussianPictures pictures;
  const Schedule schedule = LinearSchedule();
  const VariationalBound bound =
      *VariationalBound::Create(schedule, {.variance_type = VarianceType::kFixedLarge});
  const GaussianNetwork network(schedule, pictures.data, 1, 8, 8);
  const double bits = Measure(bound, network, pictures.x0, Seeds(32)).total.mean().item<double>();
  // Of a Gaussian cut into bins of 2/255.
  const double entropy = 0.5 * std::log2(2 * M_PI * M_E * pictures.variance) + std::log2(127.5);
  EXPECT_GT(bits, entropy);
  EXPECT_LT(bits, entropy + 0.3);
}

TEST(BitsPerDim, OfAPictureDoesNotDependOnItsBatch) {
  const GaussianPictures pictures;
  const Schedule schedule = LinearSchedule(20);
  const VariationalBound bound = *VariationalBound::Create(schedule, {});
  const GaussianNetwork network(schedule, pictures.data, 1, 8, 8);
  const BitsPerDim together = Measure(bound, network, pictures.x0, Seeds(32));
  const BitsPerDim alone = Measure(bound, network, pictures.x0.narrow(0, 7, 1), {107});
  EXPECT_TRUE(together.vb.narrow(0, 7, 1).allclose(alone.vb, 1e-12));
  EXPECT_TRUE(together.total.allclose(together.prior + together.vb.sum(1), 1e-12));
}

TEST(BitsPerDim, ACallThatFailsCanBeMadeAgain) {
  const GaussianPictures pictures;
  const Schedule schedule = LinearSchedule(20);
  const VariationalBound bound = *VariationalBound::Create(schedule, {});
  int calls = 0;
  const GaussianNetwork network(schedule, pictures.data, 1, 8, 8);
  const GaussianNetwork failing(schedule, pictures.data, 1, 8, 8, [&](const NetworkInput&) {
    if (++calls % 2 == 1) throw std::runtime_error("no memory");
  });
  BitsPerDimRun run(bound, pictures.x0, {}, NoiseOfSeeds(Seeds(32)));
  EXPECT_EQ(run.calls(), 20u);
  while (!run.done()) {
    const size_t done = run.calls_done();
    EXPECT_THROW(run.Advance(failing), std::runtime_error);
    EXPECT_EQ(run.calls_done(), done);
    run.Advance(failing);
  }
  const BitsPerDim undisturbed = Measure(bound, network, pictures.x0, Seeds(32));
  EXPECT_TRUE(run.Result().total.equal(undisturbed.total));
}

}  // namespace
}  // namespace denoise
