#include "server/jobs/settings/objective_settings.h"

#include <string_view>

namespace denoise {
namespace {

using denoised::v1::Objective;
using denoised::v1::Optimizer;

bool LearnsVariance(const Model& model) {
  return model.spec.out_channels == 2 * model.spec.in_channels;
}

void RequireAbsent(bool present, std::string_view field, std::string_view why,
                   FieldViolations& violations) {
  if (present) violations.Add(field, why);
}

void ResolveLoss(const Model& model, Objective& objective, FieldViolations& violations) {
  if (!Objective::Loss_IsValid(objective.loss())) {
    violations.Add("objective.loss", "must be one of the losses");
  }
  if (objective.loss() == Objective::LOSS_UNSPECIFIED) {
    objective.set_loss(LearnsVariance(model) ? Objective::HYBRID : Objective::SIMPLE);
  }
  if (objective.loss() != Objective::HYBRID) {
    RequireAbsent(objective.has_vlb_weight(), "objective.vlb_weight", "goes with the loss HYBRID",
                  violations);
  } else if (!objective.has_vlb_weight()) {
    objective.set_vlb_weight(ObjectiveOptions().vlb_weight);
  }
}

void ResolveWeighting(const Model& model, Objective& objective, FieldViolations& violations) {
  const ObjectiveOptions defaults;
  if (!Objective::Weighting_IsValid(objective.weighting())) {
    violations.Add("objective.weighting", "must be one of the weightings");
  }
  if (objective.weighting() == Objective::WEIGHTING_UNSPECIFIED) {
    objective.set_weighting(model.schedule.family() == ScheduleFamily::kEdm ? Objective::EDM
                                                                            : Objective::UNIFORM);
  }
  if (objective.weighting() != Objective::MIN_SNR) {
    RequireAbsent(objective.has_min_snr_gamma(), "objective.min_snr_gamma",
                  "goes with the weighting MIN_SNR", violations);
  } else if (!objective.has_min_snr_gamma()) {
    objective.set_min_snr_gamma(defaults.min_snr_gamma);
  }
  if (objective.weighting() != Objective::P2) {
    RequireAbsent(objective.has_p2_gamma(), "objective.p2_gamma", "goes with the weighting P2",
                  violations);
    RequireAbsent(objective.has_p2_k(), "objective.p2_k", "goes with the weighting P2", violations);
  } else {
    if (!objective.has_p2_gamma()) objective.set_p2_gamma(defaults.p2_gamma);
    if (!objective.has_p2_k()) objective.set_p2_k(defaults.p2_k);
  }
}

void ResolveTimesteps(const Model& model, Objective& objective, FieldViolations& violations) {
  const ScheduleFamily family = model.schedule.family();
  if (!Objective::TimestepSampling_IsValid(objective.timestep_sampling())) {
    violations.Add("objective.timestep_sampling", "must be one of the ways to sample timesteps");
  }
  if (objective.timestep_sampling() == Objective::TIMESTEP_SAMPLING_UNSPECIFIED) {
    objective.set_timestep_sampling(family == ScheduleFamily::kEdm
                                        ? Objective::LOG_NORMAL
                                        : Objective::TIMESTEP_SAMPLING_UNIFORM);
  }
  if (objective.timestep_sampling() != Objective::LOG_NORMAL) {
    const char* why = "goes with the timestep sampling LOG_NORMAL";
    RequireAbsent(objective.has_log_normal_mean(), "objective.log_normal_mean", why, violations);
    RequireAbsent(objective.has_log_normal_std(), "objective.log_normal_std", why, violations);
    return;
  }
  const bool flow = family == ScheduleFamily::kFlow;
  const ObjectiveOptions edm;
  if (!objective.has_log_normal_mean()) {
    objective.set_log_normal_mean(flow ? 0 : edm.log_normal_mean);
  }
  if (!objective.has_log_normal_std()) objective.set_log_normal_std(flow ? 1 : edm.log_normal_std);
}

}  // namespace

void ResolveObjective(const Model& model, Objective& objective, FieldViolations& violations) {
  constexpr double kLabelDropout = 0.1;
  ResolveLoss(model, objective, violations);
  ResolveWeighting(model, objective, violations);
  ResolveTimesteps(model, objective, violations);
  const bool can_drop = model.null_class_label.has_value();
  if (!objective.has_label_dropout()) objective.set_label_dropout(can_drop ? kLabelDropout : 0);
  if (objective.label_dropout() != 0 && !can_drop) {
    violations.Add("objective.label_dropout",
                   "must be 0: the network has no class that stands for none");
  }
}

void ResolveOptimizer(Optimizer& optimizer, FieldViolations& violations) {
  const OptimizerOptions defaults;
  if (!optimizer.has_learning_rate()) optimizer.set_learning_rate(defaults.learning_rate);
  if (!optimizer.has_beta1()) optimizer.set_beta1(defaults.beta1);
  if (!optimizer.has_beta2()) optimizer.set_beta2(defaults.beta2);
  if (!optimizer.has_epsilon()) optimizer.set_epsilon(defaults.epsilon);
  if (!optimizer.has_weight_decay()) optimizer.set_weight_decay(defaults.weight_decay);
  if (!optimizer.has_max_gradient_norm()) {
    optimizer.set_max_gradient_norm(defaults.max_gradient_norm);
  }
  if (!optimizer.has_warmup_steps()) optimizer.set_warmup_steps(defaults.warmup_steps);
  if (!Optimizer::Decay_IsValid(optimizer.decay())) {
    violations.Add("optimizer.decay", "must be one of the decays");
  }
  if (optimizer.decay() == Optimizer::DECAY_UNSPECIFIED) optimizer.set_decay(Optimizer::CONSTANT);
}

ObjectiveOptions ObjectiveOptionsOf(const Objective& objective) {
  ObjectiveOptions options;
  options.loss = objective.loss() == Objective::HYBRID              ? LossKind::kHybrid
                 : objective.loss() == Objective::VARIATIONAL_BOUND ? LossKind::kVariationalBound
                                                                    : LossKind::kSimple;
  options.weighting = objective.weighting() == Objective::MIN_SNR ? LossWeighting::kMinSnr
                      : objective.weighting() == Objective::P2    ? LossWeighting::kP2
                      : objective.weighting() == Objective::EDM   ? LossWeighting::kEdm
                                                                  : LossWeighting::kUniform;
  options.timestep_sampling = objective.timestep_sampling() == Objective::LOSS_SECOND_MOMENT
                                  ? TimestepSampling::kLossSecondMoment
                              : objective.timestep_sampling() == Objective::LOG_NORMAL
                                  ? TimestepSampling::kLogNormal
                                  : TimestepSampling::kUniform;
  if (objective.has_vlb_weight()) options.vlb_weight = objective.vlb_weight();
  if (objective.has_min_snr_gamma()) options.min_snr_gamma = objective.min_snr_gamma();
  if (objective.has_p2_gamma()) options.p2_gamma = objective.p2_gamma();
  if (objective.has_p2_k()) options.p2_k = objective.p2_k();
  if (objective.has_log_normal_mean()) options.log_normal_mean = objective.log_normal_mean();
  if (objective.has_log_normal_std()) options.log_normal_std = objective.log_normal_std();
  options.label_dropout = objective.label_dropout();
  return options;
}

OptimizerOptions OptimizerOptionsOf(const Optimizer& optimizer) {
  return {.learning_rate = optimizer.learning_rate(),
          .beta1 = optimizer.beta1(),
          .beta2 = optimizer.beta2(),
          .epsilon = optimizer.epsilon(),
          .weight_decay = optimizer.weight_decay(),
          .max_gradient_norm = optimizer.max_gradient_norm(),
          .warmup_steps = optimizer.warmup_steps(),
          .decay = optimizer.decay() == Optimizer::COSINE   ? LearningRateDecay::kCosine
                   : optimizer.decay() == Optimizer::LINEAR ? LearningRateDecay::kLinear
                                                            : LearningRateDecay::kConstant};
}

}  // namespace denoise
