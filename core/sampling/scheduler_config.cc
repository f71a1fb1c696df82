#include "core/sampling/scheduler_config.h"

#include <algorithm>
#include <string>

#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/json/config_reader.h"
#include "core/json/strict_json.h"
#include "core/sampling/option_names.h"
#include "core/sampling/sampler_families.h"
#include "core/sampling/sampler_validation.h"
#include "core/sampling/scheduler_classes.h"

namespace denoise {
namespace {

// Scalars and lists. The library writes an infinite lambda_min_clipped as -Infinity.
constexpr JsonOptions kJsonOptions = {.max_depth = 2, .non_finite_numbers = true};

absl::StatusOr<SchedulerClass> ReadClass(ConfigReader& reader) {
  SchedulerClass scheduler_class = {};
  reader.ReadName("_class_name", SchedulerClasses(), scheduler_class);
  RETURN_IF_ERROR(reader.status());
  if (scheduler_class.read == nullptr) {
    return InvalidField("_class_name", "is needed: the name of a scheduler class");
  }
  return scheduler_class;
}

VpOptions ReadVpOptions(ConfigReader& reader, const SchedulerClass& scheduler_class) {
  VpOptions schedule;
  schedule.beta_start = scheduler_class.beta_start;
  schedule.beta_end = scheduler_class.beta_end;
  reader.Read("num_train_timesteps", schedule.num_train_timesteps);
  reader.Read("beta_start", schedule.beta_start);
  reader.Read("beta_end", schedule.beta_end);
  reader.ReadName("beta_schedule", kNames<BetaSchedule>, schedule.beta_schedule);
  reader.Read("trained_betas", schedule.trained_betas);
  if (scheduler_class.has_zero_snr) {
    reader.Read("rescale_betas_zero_snr", schedule.rescale_betas_zero_snr);
  }
  return schedule;
}

EdmOptions ReadEdmOptions(ConfigReader& reader) {
  EdmOptions schedule;
  reader.Read("num_train_timesteps", schedule.num_train_timesteps);
  reader.Read("sigma_min", schedule.sigma_min);
  reader.Read("sigma_max", schedule.sigma_max);
  reader.Read("sigma_data", schedule.sigma_data);
  reader.Read("rho", schedule.rho);
  return schedule;
}

ScheduleOptions ReadSchedule(ConfigReader& reader, const SchedulerClass& scheduler_class) {
  if (scheduler_class.family == ScheduleFamily::kEdm) return ReadEdmOptions(reader);
  return ReadVpOptions(reader, scheduler_class);
}

// The keys that all classes of a family have.
void ReadCommon(ConfigReader& reader, ScheduleFamily family, SamplerOptions& sampler) {
  reader.ReadName("prediction_type", kNames<PredictionType>, sampler.prediction_type);
  if (family != ScheduleFamily::kVariancePreserving) return;
  reader.ReadName("timestep_spacing", kNames<TimestepSpacing>, sampler.timestep_spacing);
  reader.Read("steps_offset", sampler.steps_offset);
}

bool IsDdpmOrDdim(SamplerKind sampler) {
  return sampler == SamplerKind::kDdpm || sampler == SamplerKind::kDdim;
}

bool IsSolver(SamplerKind sampler) { return SamplerReads(sampler, "solver_order"); }

// What a request may change of the schedule is an option of its samplers.
void AdoptSchedule(SchedulerConfig& config) {
  if (const EdmOptions* edm = std::get_if<EdmOptions>(&config.schedule)) {
    config.sampler.sigma_min = edm->sigma_min;
    config.sampler.sigma_max = edm->sigma_max;
    config.sampler.rho = edm->rho;
  }
}

}  // namespace

SamplerOptions ClassDefaults(SamplerKind sampler) {
  SamplerOptions options;
  options.sampler = sampler;
  options.clip_sample = IsDdpmOrDdim(sampler);
  options.timestep_spacing =
      IsDdpmOrDdim(sampler) ? TimestepSpacing::kLeading : TimestepSpacing::kLinspace;
  return options;
}

absl::StatusOr<SchedulerConfig> ParseSchedulerConfig(std::string_view json) {
  ASSIGN_OR_RETURN(const nlohmann::json object, ParseStrictJsonObject(json, kJsonOptions));
  ConfigReader reader(object, ConfigReader::Null::kAbsent);
  SchedulerConfig config;
  ASSIGN_OR_RETURN(const SchedulerClass scheduler_class, ReadClass(reader));
  config.class_name = object["_class_name"].get<std::string>();
  config.sampler = ClassDefaults(scheduler_class.sampler);
  config.schedule = ReadSchedule(reader, scheduler_class);
  ReadCommon(reader, scheduler_class.family, config.sampler);
  scheduler_class.read(reader, config.sampler);
  RETURN_IF_ERROR(reader.Finish(config.class_name, LibraryKeys()));
  RETURN_IF_ERROR(Schedule::Create(config.schedule).status());
  AdoptSchedule(config);
  FieldViolations violations = ValidateSamplerOptions(config.sampler);
  CheckFamily(config.sampler, scheduler_class.family, violations);
  RETURN_IF_ERROR(violations.ToStatus());
  return config;
}

SamplerOptions SwitchSampler(const SchedulerConfig& config, SamplerKind sampler) {
  const SamplerOptions& from = config.sampler;
  if (from.sampler == sampler) return from;
  SamplerOptions to = ClassDefaults(sampler);

  to.prediction_type = from.prediction_type;
  to.timestep_spacing = from.timestep_spacing;
  to.steps_offset = from.steps_offset;
  to.thresholding = from.thresholding;
  to.dynamic_thresholding_ratio = from.dynamic_thresholding_ratio;
  to.sample_max_value = from.sample_max_value;
  to.variance_type = from.variance_type;

  if (SamplerReads(from.sampler, "clip_sample") && SamplerReads(sampler, "clip_sample")) {
    to.clip_sample = from.clip_sample;
    to.clip_sample_range = from.clip_sample_range;
  }
  if (!IsDdpmOrDdim(from.sampler) && !IsDdpmOrDdim(sampler)) {
    to.final_sigma = from.final_sigma;
    to.sigma_min = from.sigma_min;
    to.sigma_max = from.sigma_max;
    to.rho = from.rho;
    // Flow levels are the solvers' own.
    if (IsSolver(sampler) || from.sigma_spacing != SigmaSpacing::kFlow) {
      to.sigma_spacing = from.sigma_spacing;
    }
  }
  if (IsSolver(from.sampler) && IsSolver(sampler)) {
    const bool sde = sampler == SamplerKind::kSdeDpmSolverPlusPlus;
    to.solver_order = sde ? std::min(from.solver_order, 2) : from.solver_order;
    to.lower_order_final = from.lower_order_final || sampler == SamplerKind::kUniPc;
    to.flow_shift = from.flow_shift;
    if (from.sampler != SamplerKind::kUniPc && sampler != SamplerKind::kUniPc) {
      to.solver_type = from.solver_type;
      to.euler_at_final = from.euler_at_final;
      to.lambda_min_clipped = from.lambda_min_clipped;
    }
  }
  return to;
}

}  // namespace denoise
