#include "core/train/run_state.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/json/config_reader.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

constexpr JsonOptions kLimits = {.max_bytes = 1 << 16, .max_depth = 4, .max_values = 1 << 10};

const char* Name(LossKind loss) {
  switch (loss) {
    case LossKind::kSimple:
      return "simple";
    case LossKind::kVariationalBound:
      return "variational_bound";
    case LossKind::kHybrid:
      return "hybrid";
  }
  return "";
}

const char* Name(LossWeighting weighting) {
  switch (weighting) {
    case LossWeighting::kUniform:
      return "uniform";
    case LossWeighting::kMinSnr:
      return "min_snr";
    case LossWeighting::kP2:
      return "p2";
    case LossWeighting::kEdm:
      return "edm";
  }
  return "";
}

const char* Name(TimestepSampling sampling) {
  switch (sampling) {
    case TimestepSampling::kUniform:
      return "uniform";
    case TimestepSampling::kLossSecondMoment:
      return "loss_second_moment";
    case TimestepSampling::kLogNormal:
      return "log_normal";
  }
  return "";
}

const char* Name(LearningRateDecay decay) {
  switch (decay) {
    case LearningRateDecay::kConstant:
      return "constant";
    case LearningRateDecay::kCosine:
      return "cosine";
    case LearningRateDecay::kLinear:
      return "linear";
  }
  return "";
}

const char* Name(TrainingPrecision precision) {
  switch (precision) {
    case TrainingPrecision::kFloat32:
      return "float32";
    case TrainingPrecision::kBFloat16:
      return "bfloat16";
    case TrainingPrecision::kFloat16:
      return "float16";
  }
  return "";
}

// Everything that must stay the same, under the names of the members.
Json Identity(const RunIdentity& run) {
  const ObjectiveOptions& objective = run.options.objective;
  const OptimizerOptions& optimizer = run.options.optimizer;
  return {
      {"objective.loss", Name(objective.loss)},
      {"objective.vlb_weight", objective.vlb_weight},
      {"objective.weighting", Name(objective.weighting)},
      {"objective.min_snr_gamma", objective.min_snr_gamma},
      {"objective.p2_gamma", objective.p2_gamma},
      {"objective.p2_k", objective.p2_k},
      {"objective.timestep_sampling", Name(objective.timestep_sampling)},
      {"objective.log_normal_mean", objective.log_normal_mean},
      {"objective.log_normal_std", objective.log_normal_std},
      {"objective.label_dropout", objective.label_dropout},
      {"optimizer.learning_rate", optimizer.learning_rate},
      {"optimizer.beta1", optimizer.beta1},
      {"optimizer.beta2", optimizer.beta2},
      {"optimizer.epsilon", optimizer.epsilon},
      {"optimizer.weight_decay", optimizer.weight_decay},
      {"optimizer.max_gradient_norm", optimizer.max_gradient_norm},
      {"optimizer.warmup_steps", optimizer.warmup_steps},
      {"optimizer.decay", Name(optimizer.decay)},
      {"augmentation.horizontal_flip", run.options.augmentation.horizontal_flip},
      {"augmentation.random_crop_scale", run.options.augmentation.random_crop_scale},
      {"batch_size", run.options.batch_size},
      {"micro_batch_size", run.options.micro_batch_size},
      {"seed", run.options.seed},
      {"ema_decays", run.options.ema_decays},
      {"precision", Name(run.options.precision)},
      {"max_non_finite_steps", run.options.max_non_finite_steps},
      {"pictures", run.pictures},
  };
}

// The identity of a run with default options, without what has no default.
Json Defaults() {
  const TrainingOptions options;
  Json identity = Identity({options, /*pictures=*/0});
  identity.erase("pictures");
  return identity;
}

// A checkpoint that lacks an option was written before there was one, so the run had its default.
absl::Status CheckSame(const Json& stored, const Json& expected) {
  const Json defaults = Defaults();
  FieldViolations violations;
  for (const auto& [field, value] : expected.items()) {
    const auto found = stored.find(field);
    if (found == stored.end()) {
      const bool is_default = defaults.contains(field) && defaults[field] == value;
      if (!is_default) violations.Add(field, "is missing from the checkpoint");
    } else if (*found != value) {
      violations.Add(field,
                     absl::StrCat("is ", value.dump(), ", but the checkpoint was written with ",
                                  Escaped(found->dump())));
    }
  }
  RETURN_IF_ERROR(violations.ToStatus());
  for (const auto& [field, value] : stored.items()) {
    if (expected.contains(field)) continue;
    return absl::InvalidArgumentError("the checkpoint was written with unknown options");
  }
  return absl::OkStatus();
}

}  // namespace

std::string EncodeRunState(const RunIdentity& run, const RunCounters& counters) {
  const Json state = {{"run", Identity(run)},
                      {"non_finite_steps", counters.non_finite_steps},
                      {"non_finite_in_a_row", counters.non_finite_in_a_row},
                      {"loss_scale", counters.loss_scale.scale},
                      {"finite_steps_at_loss_scale", counters.loss_scale.finite_steps}};
  return state.dump(2) + "\n";
}

absl::StatusOr<RunCounters> DecodeRunState(std::string_view json, const RunIdentity& run) {
  ASSIGN_OR_RETURN(const Json state, ParseStrictJsonObject(json, kLimits));
  RunCounters counters;
  ConfigReader reader(state, ConfigReader::Null::kValue);
  reader.Read("non_finite_steps", counters.non_finite_steps, {0, kMax});
  reader.Read("non_finite_in_a_row", counters.non_finite_in_a_row, {0, kMax});
  reader.Read("loss_scale", counters.loss_scale.scale);
  reader.Read("finite_steps_at_loss_scale", counters.loss_scale.finite_steps, {0, kMax});
  if (!(std::isfinite(counters.loss_scale.scale) && counters.loss_scale.scale > 0)) {
    reader.Violate("loss_scale", "must be a finite number above 0");
  }
  const Json* identity = reader.Find("run");
  if (identity == nullptr || !identity->is_object()) reader.Violate("run", "must be an object");
  RETURN_IF_ERROR(reader.Finish("training state"));
  RETURN_IF_ERROR(CheckSame(*identity, Identity(run)));
  return counters;
}

}  // namespace denoise
