#include "proto/conversion/plan_proto.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

// Puts a clip or a noise into the message's oneof.
class Writer {
 public:
  explicit Writer(v1::PlannedEvaluation& message) : message_(message) {}

  void operator()(std::monostate) const {}

  void operator()(const StaticClip& clip) const {
    message_.mutable_static_clip()->set_min(clip.min);
    message_.mutable_static_clip()->set_max(clip.max);
  }

  void operator()(const DynamicThreshold& threshold) const {
    message_.mutable_dynamic_threshold()->set_ratio(threshold.ratio);
    message_.mutable_dynamic_threshold()->set_max_value(threshold.max_value);
  }

  void operator()(double noise_scale) const { message_.set_noise_scale(noise_scale); }

  void operator()(const LearnedRange& range) const {
    message_.mutable_learned_range()->set_log_variance_min(range.log_variance_min);
    message_.mutable_learned_range()->set_log_variance_max(range.log_variance_max);
  }

  void operator()(LearnedVariance) const { message_.mutable_learned_variance(); }

 private:
  v1::PlannedEvaluation& message_;
};

void AddUpdate(const SmallMatrix& update, v1::PlannedEvaluation& message) {
  for (int row = 0; row < update.rows(); ++row) {
    for (int column = 0; column < update.columns(); ++column) {
      message.add_update(update(row, column));
    }
  }
}

v1::PlannedEvaluation EvaluationToProto(const Evaluation& evaluation) {
  v1::PlannedEvaluation message;
  message.set_timestep(evaluation.timestep);
  message.set_input_scale(evaluation.input_scale);
  message.set_x0_from_state(evaluation.x0_from_state);
  message.set_x0_from_output(evaluation.x0_from_output);
  std::visit(Writer(message), evaluation.clip);
  AddUpdate(evaluation.update, message);
  std::visit(Writer(message), evaluation.noise);
  message.set_alpha(evaluation.alpha);
  message.set_sigma(evaluation.sigma);
  message.set_ends_step(evaluation.ends_step);
  return message;
}

Clip ClipFromProto(const v1::PlannedEvaluation& message) {
  if (message.has_static_clip()) {
    return StaticClip{message.static_clip().min(), message.static_clip().max()};
  }
  if (message.has_dynamic_threshold()) {
    return DynamicThreshold{message.dynamic_threshold().ratio(),
                            message.dynamic_threshold().max_value()};
  }
  return std::monostate();
}

absl::StatusOr<NoiseScale> NoiseFromProto(const v1::PlannedEvaluation& message) {
  switch (message.noise_case()) {
    case v1::PlannedEvaluation::kNoiseScale:
      return message.noise_scale();
    case v1::PlannedEvaluation::kLearnedRange:
      return LearnedRange{message.learned_range().log_variance_min(),
                          message.learned_range().log_variance_max()};
    case v1::PlannedEvaluation::kLearnedVariance:
      return LearnedVariance();
    case v1::PlannedEvaluation::NOISE_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("an evaluation says nothing of its noise");
}

absl::StatusOr<SmallMatrix> UpdateFromProto(const v1::PlannedEvaluation& message, int slots) {
  if (message.update_size() != slots * (slots + 2)) {
    return absl::InvalidArgumentError(
        absl::StrCat("an update of ", slots, " slots has ", message.update_size(), " numbers"));
  }
  SmallMatrix update(slots, slots + 2);
  for (int i = 0; i < message.update_size(); ++i) {
    update(i / update.columns(), i % update.columns()) = message.update(i);
  }
  return update;
}

absl::StatusOr<Evaluation> EvaluationFromProto(const v1::PlannedEvaluation& message, int slots) {
  Evaluation evaluation;
  evaluation.timestep = message.timestep();
  evaluation.input_scale = message.input_scale();
  evaluation.x0_from_state = message.x0_from_state();
  evaluation.x0_from_output = message.x0_from_output();
  evaluation.clip = ClipFromProto(message);
  ASSIGN_OR_RETURN(evaluation.update, UpdateFromProto(message, slots));
  ASSIGN_OR_RETURN(evaluation.noise, NoiseFromProto(message));
  evaluation.alpha = message.alpha();
  evaluation.sigma = message.sigma();
  evaluation.ends_step = message.ends_step();
  return evaluation;
}

}  // namespace

v1::SamplerPlan PlanToProto(const SamplerPlan& plan) {
  v1::SamplerPlan message;
  message.set_init_noise_scale(plan.init_noise_scale);
  message.set_slots(plan.slots);
  for (const Evaluation& evaluation : plan.evaluations) {
    *message.add_evaluations() = EvaluationToProto(evaluation);
  }
  message.set_final_alpha(plan.final_alpha);
  message.set_final_sigma(plan.final_sigma);
  return message;
}

absl::StatusOr<SamplerPlan> PlanFromProto(const v1::SamplerPlan& message) {
  if (message.slots() < 1 || message.slots() > kMaxSlots) {
    return absl::InvalidArgumentError(
        absl::StrCat("a plan cannot have ", message.slots(), " slots"));
  }
  if (message.evaluations().empty()) {
    return absl::InvalidArgumentError("a plan without an evaluation");
  }
  SamplerPlan plan;
  plan.init_noise_scale = message.init_noise_scale();
  plan.slots = message.slots();
  for (const v1::PlannedEvaluation& evaluation : message.evaluations()) {
    ASSIGN_OR_RETURN(plan.evaluations.emplace_back(), EvaluationFromProto(evaluation, plan.slots));
  }
  plan.final_alpha = message.final_alpha();
  plan.final_sigma = message.final_sigma();
  return plan;
}

}  // namespace denoise
