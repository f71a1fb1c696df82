#include "core/train/objective.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/check.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/diffusion/per_row.h"

namespace denoise {
namespace {

// For schedules that do not state one (Karras et al. 2022, table 1).
constexpr double kSigmaData = 0.5;

bool NeedsBound(LossKind loss) { return loss != LossKind::kSimple; }

std::optional<Preconditioning> PreconditioningOf(const Schedule& schedule) {
  const EdmSchedule* edm = schedule.As<EdmSchedule>();
  if (edm == nullptr) return std::nullopt;
  return edm->preconditioning();
}

// Checks that `network` can be trained on `schedule` at all.
void CheckTrainable(const Schedule& schedule, const SamplerOptions& sampler,
                    const NetworkSpec& network, FieldViolations& violations) {
  const ScheduleFamily family = schedule.family();
  const bool preserving = family == ScheduleFamily::kVariancePreserving;
  if (family == ScheduleFamily::kConsistency) {
    violations.Add("loss",
                   "is not defined for consistency models, which are distilled from another model");
  }
  if (preserving && IsFlow(sampler.prediction_type)) {
    violations.Add("loss",
                   "is not defined for a network that predicts a flow on a variance-preserving "
                   "noise schedule");
  }
  if (preserving && sampler.timestep_type == TimestepType::kContinuous) {
    violations.Add("loss",
                   "is not defined for a network that takes 0.25 log sigma on a "
                   "variance-preserving noise schedule");
  }
  if (preserving && sampler.prediction_type == PredictionType::kEpsilon &&
      schedule.alpha(schedule.timestep_max()) == 0) {
    violations.Add("loss",
                   "is not defined at the last timestep: it has no signal, so epsilon says "
                   "nothing about x0. The network must predict v or the sample");
  }
  if (network.out_channels != network.sample.channels &&
      network.out_channels != 2 * network.sample.channels) {
    violations.Add("loss",
                   "needs a network with as many output channels as input channels, or twice as "
                   "many");
  }
}

void CheckBound(const Schedule& schedule, const SamplerOptions& sampler,
                const ObjectiveOptions& options, const NetworkSpec& network,
                FieldViolations& violations) {
  if (!NeedsBound(options.loss)) return;
  if (schedule.family() != ScheduleFamily::kVariancePreserving) {
    violations.Add("loss",
                   "must be simple on this noise schedule: the variational bound needs a "
                   "variance-preserving one");
    return;
  }
  const bool range = sampler.variance_type == VarianceType::kLearnedRange;
  if (sampler.variance_type == VarianceType::kLearned) {
    violations.Add("loss",
                   "cannot train variance_type learned, which may become negative; train "
                   "variance_type learned_range instead");
  } else if (options.loss == LossKind::kHybrid && !range) {
    violations.Add("loss",
                   "hybrid trains the variance, but this model's is fixed; it needs "
                   "variance_type learned_range");
  }
  if (range && network.out_channels != 2 * network.sample.channels) {
    violations.Add("loss",
                   "needs a network with twice as many output channels as input channels, "
                   "because the variance is learned");
  }
  if (options.loss == LossKind::kVariationalBound && options.weighting != LossWeighting::kUniform) {
    violations.Add("weighting",
                   "applies to the simple loss; must be uniform with variational_bound");
  }
}

absl::StatusOr<std::optional<VariationalBound>> BoundOf(const Schedule& schedule,
                                                        const SamplerOptions& sampler,
                                                        LossKind loss) {
  if (!NeedsBound(loss)) return std::nullopt;
  return VariationalBound::Create(schedule, {.prediction_type = sampler.prediction_type,
                                             .variance_type = sampler.variance_type});
}

at::Tensor MeanOfRows(const at::Tensor& x) { return x.flatten(1).mean(1); }

}  // namespace

// The network's input is c_in * x_t, and its prediction should be
// from_x0 * x0 + from_noise * noise.
struct Objective::Row {
  double c_in;
  double from_x0;
  double from_noise;
  double weight;  // of the squared error
};

absl::StatusOr<Objective> Objective::Create(const SchedulerConfig& scheduler,
                                            const ObjectiveOptions& options,
                                            const NetworkSpec& network) {
  ASSIGN_OR_RETURN(const Schedule schedule, Schedule::Create(scheduler.schedule));
  FieldViolations violations;
  CheckTrainable(schedule, scheduler.sampler, network, violations);
  CheckBound(schedule, scheduler.sampler, options, network, violations);
  if (options.timestep_sampling == TimestepSampling::kLossSecondMoment &&
      schedule.family() != ScheduleFamily::kVariancePreserving) {
    violations.Add("timestep_sampling",
                   "loss_second_moment needs the whole timesteps of a "
                   "variance-preserving noise schedule");
  }
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(std::optional<VariationalBound> bound,
                   BoundOf(schedule, scheduler.sampler, options.loss));
  return Objective(schedule, scheduler.sampler.prediction_type, options, std::move(bound));
}

Objective::Objective(const Schedule& schedule, PredictionType prediction_type,
                     const ObjectiveOptions& options, std::optional<VariationalBound> bound)
    : process_(schedule),
      prediction_type_(prediction_type),
      preconditioning_(PreconditioningOf(schedule)),
      options_(options),
      bound_(std::move(bound)) {}

// The target solves x0 = c_skip * x_t + c_out * target for x_t = alpha * x0 + sigma * noise.
// Computed from x0 and noise directly, it does not lose digits at low noise.
Objective::Row Objective::RowAt(double timestep) const {
  const NoiseLevel level = schedule().LevelAt(timestep);
  const Scalings scalings = ScalingsAt(level, prediction_type_, preconditioning_);
  const double sigma_data = preconditioning_ ? preconditioning_->sigma_data : kSigmaData;
  return {.c_in = scalings.c_in,
          .from_x0 = (1 - scalings.c_skip * level.alpha) / scalings.c_out,
          .from_noise = -scalings.c_skip * level.sigma / scalings.c_out,
          .weight = OutputWeight(options_, level, scalings.c_out, sigma_data)};
}

// Per row, unweighted.
at::Tensor Objective::SimpleLoss(const at::Tensor& prediction, const at::Tensor& x0,
                                 const at::Tensor& noise, const std::vector<Row>& rows) const {
  const at::Tensor target = PerRow(rows, x0, [](const Row& row) { return row.from_x0; }) * x0 +
                            PerRow(rows, x0, [](const Row& row) { return row.from_noise; }) * noise;
  return MeanOfRows(at::pow(prediction - target, 2));
}

// In L_hybrid the bound trains only the variance; the mean is detached (Nichol & Dhariwal 2021,
// section 3.1).
at::Tensor Objective::VlbLoss(const at::Tensor& output, const at::Tensor& x0, const at::Tensor& x_t,
                              const std::vector<double>& timesteps) const {
  at::Tensor answer = output;
  if (options_.loss == LossKind::kHybrid) {
    const int64_t channels = x0.size(1);
    answer = at::cat({output.narrow(1, 0, channels).detach(),
                      output.narrow(1, channels, output.size(1) - channels)},
                     1);
  }
  const at::Tensor term =
      bound_->Term(x0, x_t, timesteps, bound_->Predict(answer, x_t, timesteps).x_s);
  return (term * static_cast<double>(bound_->timesteps().size())).to(at::kFloat);
}

Objective::Losses Objective::Evaluate(const Network& network, const TrainingRows& rows,
                                      const std::vector<double>& timesteps,
                                      const at::Tensor& noise) const {
  const at::Tensor& x0 = rows.x0;
  DENOISE_DCHECK(static_cast<int64_t>(timesteps.size()) == x0.size(0));
  DENOISE_DCHECK(noise.sizes() == x0.sizes());
  std::vector<Row> coefficients;
  for (double timestep : timesteps) coefficients.push_back(RowAt(timestep));
  const at::Tensor x_t = process_.Marginal(x0, timesteps).At(noise);
  const at::Tensor output =
      network.Forward({.x = PerRow(coefficients, x0, [](const Row& row) { return row.c_in; }) * x_t,
                       .timesteps = at::tensor(timesteps, at::kDouble).to(x0.options()),
                       .conditions = {.class_labels = rows.class_labels}});

  Losses losses;
  if (options_.loss != LossKind::kVariationalBound) {
    const at::Tensor simple = SimpleLoss(output.narrow(1, 0, x0.size(1)), x0, noise, coefficients);
    losses.simple = simple.detach();
    losses.loss = PerRow(coefficients, simple, [](const Row& row) { return row.weight; }) * simple;
  }
  if (bound_.has_value()) {
    const at::Tensor vlb = VlbLoss(output, x0, x_t, timesteps);
    losses.vlb = vlb.detach();
    losses.loss = losses.loss.defined() ? losses.loss + options_.vlb_weight * vlb : vlb;
  }
  return losses;
}

double X0Weight(const ObjectiveOptions& options, const NoiseLevel& level, double sigma_data) {
  const double ratio = level.alpha / level.sigma;
  const double snr = ratio * ratio;
  switch (options.weighting) {
    case LossWeighting::kUniform:
      break;
    case LossWeighting::kMinSnr:  // Hang et al. 2023, eq. 7
      return std::min(snr, options.min_snr_gamma);
    case LossWeighting::kP2:  // Choi et al. 2022, eq. 8; x0's error is 1 / SNR of epsilon's
      return snr / std::pow(options.p2_k + snr, options.p2_gamma);
    case LossWeighting::kEdm:  // Karras et al. 2022, table 1, with sigma^2 = 1 / SNR
      return snr + 1 / (sigma_data * sigma_data);
  }
  return 1;
}

double OutputWeight(const ObjectiveOptions& options, const NoiseLevel& level, double x0_from_output,
                    double sigma_data) {
  if (options.weighting == LossWeighting::kUniform) return 1;
  return X0Weight(options, level, sigma_data) * x0_from_output * x0_from_output;
}

}  // namespace denoise
