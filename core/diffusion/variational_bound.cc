#include "core/diffusion/variational_bound.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/diffusion/learned_variance.h"
#include "core/diffusion/per_row.h"
#include "core/sampling/schedules/preconditioning.h"

namespace denoise {
namespace {

constexpr double kHalfBin = 1.0 / 255;       // of an 8-bit pixel, in [-1, 1]
constexpr double kOutermost = 0.999;         // beyond it only the first and the last value lie
constexpr double kLeastProbability = 1e-12;  // of a pixel

// The normal distribution function, in the approximation that the published numbers are made with
// (Page 1977). It rises from 0 to 1 as the exact one, so that the bins still sum to 1.
at::Tensor NormalCdf(const at::Tensor& z) {
  return 0.5 * (1 + at::tanh(std::sqrt(2 / std::numbers::pi) * (z + 0.044715 * at::pow(z, 3))));
}

at::Tensor LogProbability(const at::Tensor& probability) {
  return at::log(at::clamp(probability, kLeastProbability));
}

// [B] from nats of every element.
at::Tensor BitsPerDimension(const at::Tensor& nats) {
  return nats.flatten(1).mean(1) / std::numbers::ln2;
}

bool IsWhole(double t) { return t == std::floor(t); }

absl::Status CheckTimesteps(const std::vector<double>& timesteps, const VpSchedule& schedule) {
  for (size_t i = 0; i < timesteps.size(); ++i) {
    const double t = timesteps[i];
    const bool in_range = t >= schedule.timestep_min() && t <= schedule.timestep_max();
    if (!in_range || !IsWhole(t) || (i > 0 && t >= timesteps[i - 1])) {
      return InvalidField(absl::StrCat("timesteps[", i, "]"),
                          absl::StrCat("must be a whole number from 0 to ", schedule.timestep_max(),
                                       ", below the one before"));
    }
  }
  return absl::OkStatus();
}

absl::Status Validate(const Schedule& schedule, const ReverseProcess& reverse,
                      const std::vector<double>& timesteps) {
  const VpSchedule* vp = schedule.As<VpSchedule>();
  if (vp == nullptr) {
    return InvalidField("schedule", "must be variance preserving: the bound is over its timesteps");
  }
  if (IsFlow(reverse.prediction_type)) {
    return InvalidField("prediction_type", "a flow has no variational bound over timesteps");
  }
  RETURN_IF_ERROR(CheckTimesteps(timesteps, *vp));
  const double noisiest = timesteps.empty() ? vp->timestep_max() : timesteps.front();
  if (reverse.prediction_type == PredictionType::kEpsilon && vp->LevelAt(noisiest).alpha == 0) {
    return InvalidField("prediction_type", absl::StrCat("epsilon says nothing of x0 at timestep ",
                                                        noisiest, ", where there is no signal"));
  }
  return absl::OkStatus();
}

std::vector<double> AllTimesteps(const Schedule& schedule) {
  std::vector<double> timesteps;
  for (double t = schedule.timestep_max(); t >= schedule.timestep_min(); --t)
    timesteps.push_back(t);
  return timesteps;
}

}  // namespace

at::Tensor KlDivergence(const Gaussian& q, const Gaussian& p) {
  const at::Tensor log_ratio = at::log(p.variance) - at::log(q.variance);
  return 0.5 * (log_ratio - 1 + (q.variance + at::pow(q.mean - p.mean, 2)) / p.variance);
}

at::Tensor DecoderLogLikelihood(const at::Tensor& x0, const Gaussian& p) {
  const at::Tensor centred = x0 - p.mean, deviation = p.variance.sqrt();
  const at::Tensor below_upper = NormalCdf((centred + kHalfBin) / deviation);
  const at::Tensor below_lower = NormalCdf((centred - kHalfBin) / deviation);
  const at::Tensor inside = below_upper - below_lower;
  const at::Tensor probability =
      at::where(x0 < -kOutermost, below_upper, at::where(x0 > kOutermost, 1 - below_lower, inside));
  return LogProbability(probability);
}

absl::StatusOr<VariationalBound> VariationalBound::Create(const Schedule& schedule,
                                                          const ReverseProcess& reverse,
                                                          std::vector<double> timesteps) {
  RETURN_IF_ERROR(Validate(schedule, reverse, timesteps));
  if (timesteps.empty()) timesteps = AllTimesteps(schedule);
  return VariationalBound(schedule, reverse, std::move(timesteps));
}

// The variances come from the forward process, given every step as a row.
VariationalBound::VariationalBound(const Schedule& schedule, const ReverseProcess& reverse,
                                   std::vector<double> timesteps)
    : process_(schedule), reverse_(reverse), timesteps_(std::move(timesteps)) {
  const int64_t steps = static_cast<int64_t>(timesteps_.size());
  const at::Tensor rows = at::zeros({steps}, at::kDouble);
  const std::vector<double> before = Before(timesteps_);
  posterior_variances_ = process_.Posterior(rows, rows, before, timesteps_).variance;
  step_variances_ = process_.Step(rows, before, timesteps_).variance;
  large_variances_ = step_variances_.clone();
  if (steps == 1) posterior_variances_ = step_variances_;
  if (steps > 1) {
    posterior_variances_[steps - 1] = posterior_variances_[steps - 2];
    large_variances_[steps - 1] = posterior_variances_[steps - 2];
  }
}

std::vector<int64_t> VariationalBound::Positions(const std::vector<double>& t) const {
  std::vector<int64_t> positions;
  positions.reserve(t.size());
  for (double timestep : t) {
    const auto found =
        std::lower_bound(timesteps_.begin(), timesteps_.end(), timestep, std::greater<double>());
    positions.push_back(found - timesteps_.begin());
  }
  return positions;
}

std::vector<double> VariationalBound::Before(const std::vector<double>& t) const {
  std::vector<double> before;
  before.reserve(t.size());
  for (int64_t position : Positions(t)) {
    const size_t next = static_cast<size_t>(position) + 1;
    before.push_back(next < timesteps_.size() ? timesteps_[next]
                                              : process_.schedule().image_timestep());
  }
  return before;
}

at::Tensor VariationalBound::RowsOf(const at::Tensor& variances, const std::vector<double>& t,
                                    const at::Tensor& x) const {
  std::vector<int64_t> shape(x.dim(), 1);
  shape[0] = static_cast<int64_t>(t.size());
  return variances.index_select(0, at::tensor(Positions(t))).view(shape).to(x.device());
}

at::Tensor VariationalBound::PredictX0(const at::Tensor& m, const at::Tensor& x_t,
                                       const std::vector<double>& t) const {
  std::vector<Scalings> scalings;
  for (const NoiseLevel& level : LevelsAt(process_.schedule(), t)) {
    scalings.push_back(ScalingsAt(level, reverse_.prediction_type, std::nullopt));
  }
  const at::Tensor x0 = PerRow(scalings, x_t, [](const Scalings& s) { return s.c_skip; }) * x_t +
                        PerRow(scalings, x_t, [](const Scalings& s) { return s.c_out; }) * m;
  return reverse_.clip_x0 ? at::clamp(x0, -1, 1) : x0;
}

// Of p(x_s | x_t). Samplers read a learned variance in the same way.
at::Tensor VariationalBound::ModelVariance(const at::Tensor& output, const at::Tensor& x_t,
                                           const std::vector<double>& t) const {
  const int64_t channels = x_t.size(1);
  const at::Tensor smallest = RowsOf(posterior_variances_, t, x_t);
  switch (reverse_.variance_type) {
    case VarianceType::kFixedSmall:
    case VarianceType::kFixedSmallLog:
      return smallest;
    case VarianceType::kFixedLarge:
    case VarianceType::kFixedLargeLog:
      return RowsOf(large_variances_, t, x_t);
    case VarianceType::kLearned:
      return output.narrow(1, channels, channels);
    case VarianceType::kLearnedRange:
      return at::exp(LearnedRangeLogVariance(output.narrow(1, channels, channels),
                                             at::log(smallest),
                                             at::log(RowsOf(step_variances_, t, x_t))));
  }
  return {};
}

VariationalBound::Prediction VariationalBound::Predict(const at::Tensor& output,
                                                       const at::Tensor& x_t,
                                                       const std::vector<double>& t) const {
  const at::Tensor x = x_t.to(at::kDouble), m = output.to(at::kDouble);
  const at::Tensor x0 = PredictX0(m.narrow(1, 0, x.size(1)), x, t);
  return {x0, {process_.Posterior(x0, x, Before(t), t).mean, ModelVariance(m, x, t)}};
}

at::Tensor VariationalBound::Term(const at::Tensor& x0, const at::Tensor& x_t,
                                  const std::vector<double>& t, const Gaussian& x_s) const {
  const at::Tensor image = x0.to(at::kDouble), x = x_t.to(at::kDouble);
  const Gaussian posterior = {process_.Posterior(image, x, Before(t), t).mean,
                              RowsOf(posterior_variances_, t, x)};
  const at::Tensor is_last =
      PerRow(t, x, [this](double timestep) { return timestep == timesteps_.back() ? 1 : 0; });
  return BitsPerDimension(
      at::where(is_last > 0, -DecoderLogLikelihood(image, x_s), KlDivergence(posterior, x_s)));
}

at::Tensor VariationalBound::Prior(const at::Tensor& x0) const {
  const at::Tensor image = x0.to(at::kDouble);
  const std::vector<double> noisiest(static_cast<size_t>(x0.size(0)), timesteps_.front());
  const at::Tensor zero = at::zeros({1}, image.options());
  return BitsPerDimension(KlDivergence(process_.Marginal(image, noisiest), {zero, zero + 1}));
}

}  // namespace denoise
