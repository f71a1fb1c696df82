#include "core/train/objective.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/tensor.h>

#include <utility>

#include "core/base/check.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/diffusion/per_row.h"
#include "core/train/loss_weighting.h"

namespace denoise {
namespace {

// Of schedules that do not state one (Karras et al. 2022, table 1).
constexpr double kSigmaData = 0.5;

bool NeedsBound(LossKind loss) { return loss != LossKind::kSimple; }

std::optional<Preconditioning> PreconditioningOf(const Schedule& schedule) {
  const EdmSchedule* edm = schedule.As<EdmSchedule>();
  if (edm == nullptr) return std::nullopt;
  return edm->preconditioning();
}

// Whether `network` can be trained on `schedule` at all.
void CheckTrainable(const Schedule& schedule, const SamplerOptions& sampler,
                    const NetworkSpec& network, FieldViolations& violations) {
  const ScheduleFamily family = schedule.family();
  const bool preserving = family == ScheduleFamily::kVariancePreserving;
  if (family == ScheduleFamily::kConsistency) {
    violations.Add("loss", "there is none for consistency models, which learn from another model");
  }
  if (preserving && IsFlow(sampler.prediction_type)) {
    violations.Add("loss",
                   "there is none for a network that predicts a flow over the timesteps of "
                   "a variance-preserving noise schedule");
  }
  if (preserving && sampler.timestep_type == TimestepType::kContinuous) {
    violations.Add("loss",
                   "there is none for a network that is told 0.25 log sigma over a "
                   "variance-preserving noise schedule");
  }
  if (preserving && sampler.prediction_type == PredictionType::kEpsilon &&
      schedule.alpha(schedule.timestep_max()) == 0) {
    violations.Add("loss",
                   "at the last timestep, where there is no signal, epsilon says nothing of "
                   "x0: the network must predict v or the sample");
  }
  if (network.out_channels != network.in_channels &&
      network.out_channels != 2 * network.in_channels) {
    violations.Add("loss", "needs a network with as many channels out as in, or twice as many");
  }
}

void CheckBound(const Schedule& schedule, const SamplerOptions& sampler,
                const ObjectiveOptions& options, const NetworkSpec& network,
                FieldViolations& violations) {
  if (!NeedsBound(options.loss)) return;
  if (schedule.family() != ScheduleFamily::kVariancePreserving) {
    violations.Add("loss",
                   "must be simple unless the noise schedule is variance preserving: the "
                   "variational bound is over its timesteps");
    return;
  }
  const bool range = sampler.variance_type == VarianceType::kLearnedRange;
  if (sampler.variance_type == VarianceType::kLearned) {
    violations.Add("loss",
                   "cannot train a variance of type learned, which may fall below 0; "
                   "variance_type learned_range can be trained");
  } else if (options.loss == LossKind::kHybrid && !range) {
    violations.Add("loss",
                   "hybrid trains the variance, which is fixed; it needs variance_type "
                   "learned_range");
  }
  if (range && network.out_channels != 2 * network.in_channels) {
    violations.Add("loss",
                   "needs a network with twice as many channels out as in, as its variance "
                   "is learned");
  }
  if (options.loss == LossKind::kVariationalBound && options.weighting != LossWeighting::kUniform) {
    violations.Add("weighting", "is of the simple loss; must be uniform with variational_bound");
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

// At its timestep the network is given c_in * x_t, and its answer, the prediction, should be
// from_x0 * x0 + from_noise * noise.
struct Objective::Row {
  double c_in;
  double from_x0;
  double from_noise;
  double weight;  // of its squared error
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

// The target is what makes x0 = c_skip * x_t + c_out * target true of x_t = alpha * x0 + sigma *
// noise. Formed of x0 and noise, nothing cancels out where there is little noise.
Objective::Row Objective::RowAt(double timestep) const {
  const NoiseLevel level = schedule().LevelAt(timestep);
  const Scalings scalings = ScalingsAt(level, prediction_type_, preconditioning_);
  const double sigma_data = preconditioning_ ? preconditioning_->sigma_data : kSigmaData;
  return {.c_in = scalings.c_in,
          .from_x0 = (1 - scalings.c_skip * level.alpha) / scalings.c_out,
          .from_noise = -scalings.c_skip * level.sigma / scalings.c_out,
          .weight = OutputWeight(options_, level, scalings.c_out, sigma_data)};
}

// Of each row, not yet weighted.
at::Tensor Objective::SimpleLoss(const at::Tensor& prediction, const at::Tensor& x0,
                                 const at::Tensor& noise, const std::vector<Row>& rows) const {
  const at::Tensor target = PerRow(rows, x0, [](const Row& row) { return row.from_x0; }) * x0 +
                            PerRow(rows, x0, [](const Row& row) { return row.from_noise; }) * noise;
  return MeanOfRows(at::pow(prediction - target, 2));
}

// In L_hybrid the bound trains the variance alone: the mean is held (Nichol & Dhariwal 2021, section
// 3.1).
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
      bound_->Term(x0, x_t, timesteps, bound_->Read(answer, x_t, timesteps).x_s);
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
                       .class_labels = rows.class_labels});

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

}  // namespace denoise
