#include "core/diffusion/forward_process.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <cmath>

namespace denoise {
namespace {

ForwardProcess Process() { return ForwardProcess(*Schedule::Create({})); }

at::Tensor Pixel(double value) { return at::full({1, 1, 1, 1}, value, at::kDouble); }

double Beta(const ForwardProcess& process, int t) {
  return process.schedule().As<VpSchedule>()->betas()[t];
}

TEST(ForwardProcess, StepsComposeToTheMarginal) {
  const ForwardProcess process = Process();
  double mean = 0.7, variance = 0;
  for (int t = 0; t < 1000; ++t) {
    const Gaussian step = process.Step(Pixel(mean), {t - 1.0}, {1.0 * t});
    const double keep = 1 - Beta(process, t);  // the variance that survives the step
    mean = step.mean.item<double>();
    variance = keep * variance + step.variance.item<double>();
    const Gaussian marginal = process.Marginal(Pixel(0.7), {1.0 * t});
    ASSERT_NEAR(mean, marginal.mean.item<double>(), 1e-12) << "t " << t;
    ASSERT_NEAR(variance, marginal.variance.item<double>(), 1e-12) << "t " << t;
  }
}

// Bayes: q(x_{t-1} | x_t, x_0) is proportional to q(x_t | x_{t-1}) q(x_{t-1} | x_0), two Gaussians
// in x_{t-1}.
TEST(ForwardProcess, PosteriorIsBayesRule) {
  const ForwardProcess process = Process();
  const double x0 = 0.3, x_t = -0.9;
  for (int t : {1, 2, 50, 500, 999}) {
    const double beta = Beta(process, t);
    const Gaussian prior = process.Marginal(Pixel(x0), {t - 1.0});
    const double prior_variance = prior.variance.item<double>();
    const double precision = 1 / prior_variance + (1 - beta) / beta;
    const double mean =
        (prior.mean.item<double>() / prior_variance + std::sqrt(1 - beta) * x_t / beta) / precision;
    const Gaussian posterior = process.Posterior(Pixel(x0), Pixel(x_t), {t - 1.0}, {1.0 * t});
    EXPECT_NEAR(posterior.variance.item<double>(), 1 / precision, 1e-12) << "t " << t;
    EXPECT_NEAR(posterior.mean.item<double>(), mean, 1e-9) << "t " << t;
  }
}

// A step from s to t takes the marginal at s to that at t, and the posterior takes it back.
TEST(ForwardProcess, HoldsTogetherInEveryFamily) {
  struct Family {
    ScheduleOptions options;
    double s, t;
  };
  const double x0 = 0.3;
  for (const Family& family : {Family{VpOptions{}, 100, 700}, Family{EdmOptions{}, -0.5, 0.9},
                               Family{FlowOptions{}, 200, 1000}}) {
    const ForwardProcess process(*Schedule::Create(family.options));
    const std::vector<double> s = {family.s}, t = {family.t};
    const Gaussian at_s = process.Marginal(Pixel(x0), s), at_t = process.Marginal(Pixel(x0), t);
    const Gaussian step = process.Step(at_s.mean, s, t);
    const double alpha_ts = step.mean.item<double>() / at_s.mean.item<double>();
    const double variance_s = at_s.variance.item<double>();
    EXPECT_NEAR(step.mean.item<double>(), at_t.mean.item<double>(), 1e-12);
    EXPECT_NEAR(alpha_ts * alpha_ts * variance_s + step.variance.item<double>(),
                at_t.variance.item<double>(), 1e-12);

    const Gaussian back = process.Posterior(Pixel(x0), at_t.mean, s, t);
    const double slope = process.Posterior(Pixel(x0), at_t.mean + 1, s, t).mean.item<double>() -
                         back.mean.item<double>();
    EXPECT_NEAR(back.mean.item<double>(), at_s.mean.item<double>(), 1e-12);
    EXPECT_NEAR(slope * slope * at_t.variance.item<double>() + back.variance.item<double>(),
                variance_s, 1e-12);
  }
}

TEST(ForwardProcess, PosteriorAtTheFirstTimestepIsTheImage) {
  const Gaussian posterior = Process().Posterior(Pixel(0.3), Pixel(-0.9), {-1}, {0});
  EXPECT_NEAR(posterior.mean.item<double>(), 0.3, 1e-12);
  EXPECT_EQ(posterior.variance.item<double>(), 0);
}

TEST(ForwardProcess, EveryRowHasItsOwnTimestep) {
  const ForwardProcess process = Process();
  const at::Tensor x0 = at::randn({3, 2, 4, 5}, at::kDouble);
  const Gaussian together = process.Marginal(x0, {0, 500, 999});
  EXPECT_EQ(together.variance.sizes(), (std::vector<int64_t>{3, 1, 1, 1}));
  for (int64_t row = 0; row < 3; ++row) {
    const Gaussian alone =
        process.Marginal(x0.narrow(0, row, 1), {std::vector<double>{0, 500, 999}[row]});
    EXPECT_TRUE(together.mean.narrow(0, row, 1).equal(alone.mean));
  }
}

TEST(ForwardProcess, SamplesHaveTheMomentsItStates) {
  const ForwardProcess process = Process();
  const at::Tensor x0 = at::full({1, 200000}, 0.5, at::kDouble);
  const Gaussian marginal = process.Marginal(x0, {300});
  const at::Tensor x = marginal.At(at::randn(x0.sizes(), at::kDouble));
  // Five standard errors of the mean and of the variance over 200000 draws.
  const double variance = marginal.variance.item<double>();
  EXPECT_NEAR(x.mean().item<double>(), 0.5 * process.schedule().alpha(300),
              5 * std::sqrt(variance / 200000));
  EXPECT_NEAR(x.var().item<double>(), variance, 5 * variance * std::sqrt(2.0 / 200000));
}

}  // namespace
}  // namespace denoise
