#include "core/sampling/options/scheduler_config.h"

#include <string>

#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/json/config_reader.h"
#include "core/json/strict_json.h"
#include "core/sampling/options/option_names.h"
#include "core/sampling/options/sampler_families.h"
#include "core/sampling/options/sampler_validation.h"
#include "core/sampling/options/scheduler_classes.h"

namespace denoise {
namespace {

// Scalars and lists, and whatever ignored keys hold. The library writes an infinite
// lambda_min_clipped as -Infinity.
constexpr JsonOptions kJsonOptions = {.max_depth = 16, .non_finite_numbers = true};

absl::StatusOr<SchedulerClass> ReadClass(ConfigReader& reader) {
  SchedulerClass scheduler_class = {};
  reader.ReadName("_class_name", SchedulerClasses(), scheduler_class);
  RETURN_IF_ERROR(reader.status());
  if (scheduler_class.read == nullptr) {
    return InvalidField("_class_name", "is needed: the name of a scheduler class");
  }
  return scheduler_class;
}

// `name`, or `old_name`, which releases before 0.1 wrote, where the file has only that.
std::string NameIn(const ConfigReader& reader, const char* name, const char* old_name) {
  return !reader.Has(name) && reader.Has(old_name) ? old_name : name;
}

VpOptions ReadVpOptions(ConfigReader& reader, const SchedulerClass& scheduler_class) {
  VpOptions schedule;
  schedule.beta_schedule = scheduler_class.beta_schedule;
  schedule.beta_start = scheduler_class.beta_start;
  schedule.beta_end = scheduler_class.beta_end;
  reader.Read(NameIn(reader, "num_train_timesteps", "timesteps"), schedule.num_train_timesteps);
  reader.Read("beta_start", schedule.beta_start);
  reader.Read("beta_end", schedule.beta_end);
  reader.ReadName("beta_schedule", kNames<BetaSchedule>, schedule.beta_schedule);
  reader.Read(NameIn(reader, "trained_betas", "betas"), schedule.trained_betas);
  if (scheduler_class.has_zero_snr) {
    reader.Read("rescale_betas_zero_snr", schedule.rescale_betas_zero_snr);
  }
  return schedule;
}

// The classes of EDM, and of consistency models.
EdmOptions ReadEdmOptions(ConfigReader& reader, bool consistency_model) {
  EdmOptions schedule = {.consistency_model = consistency_model};
  if (consistency_model) schedule.num_train_timesteps = 40;
  reader.Read("num_train_timesteps", schedule.num_train_timesteps);
  reader.Read("sigma_min", schedule.sigma_min);
  reader.Read("sigma_max", schedule.sigma_max);
  reader.Read("sigma_data", schedule.sigma_data);
  reader.Read("rho", schedule.rho);
  return schedule;
}

FlowOptions ReadFlowOptions(ConfigReader& reader) {
  FlowOptions schedule;
  reader.Read("num_train_timesteps", schedule.num_train_timesteps);
  reader.Read("shift", schedule.shift);
  reader.Read("use_dynamic_shifting", schedule.use_dynamic_shifting);
  reader.ReadName("time_shift_type", kNames<TimeShiftType>, schedule.time_shift_type);
  reader.Read("base_shift", schedule.base_shift);
  reader.Read("max_shift", schedule.max_shift);
  reader.Read("base_image_seq_len", schedule.base_image_seq_len);
  reader.Read("max_image_seq_len", schedule.max_image_seq_len);
  reader.Read("invert_sigmas", schedule.invert_sigmas);
  double shift_terminal = 0;
  reader.Read("shift_terminal", shift_terminal);
  if (shift_terminal != 0) schedule.shift_terminal = shift_terminal;
  schedule.image_seq_len = schedule.base_image_seq_len;
  return schedule;
}

ScheduleOptions ReadSchedule(ConfigReader& reader, const SchedulerClass& scheduler_class) {
  switch (scheduler_class.family) {
    case ScheduleFamily::kVariancePreserving:
      return ReadVpOptions(reader, scheduler_class);
    case ScheduleFamily::kEdm:
      return ReadEdmOptions(reader, /*consistency_model=*/false);
    case ScheduleFamily::kConsistency:
      return ReadEdmOptions(reader, /*consistency_model=*/true);
    case ScheduleFamily::kFlow:
      return ReadFlowOptions(reader);
  }
  return VpOptions();
}

// Until release 0.10 there was predict_epsilon in place of prediction_type; where a file has both,
// the library reads the latter. "original_sample" is another name of "sample".
void ReadPredictionType(ConfigReader& reader, SamplerOptions& sampler) {
  const nlohmann::json* type = reader.Find("prediction_type");
  if (type != nullptr && type->is_string() &&
      type->get_ref<const std::string&>() == "original_sample") {
    sampler.prediction_type = PredictionType::kSample;
  } else if (type != nullptr) {
    reader.ReadName("prediction_type", kNames<PredictionType>, sampler.prediction_type);
  } else {
    bool predict_epsilon = sampler.prediction_type == PredictionType::kEpsilon;
    reader.Read("predict_epsilon", predict_epsilon);
    sampler.prediction_type = predict_epsilon ? PredictionType::kEpsilon : PredictionType::kSample;
  }
}

// Reads the keys that all or most classes of a family have. With flow matching and consistency
// models the prediction type is fixed.
void ReadCommon(ConfigReader& reader, const SchedulerClass& scheduler_class,
                SamplerOptions& sampler) {
  const ScheduleFamily family = scheduler_class.family;
  if (family == ScheduleFamily::kFlow || family == ScheduleFamily::kConsistency) return;
  ReadPredictionType(reader, sampler);
  if (family == ScheduleFamily::kEdm || !scheduler_class.has_spacing) return;
  reader.ReadName("timestep_spacing", kNames<TimestepSpacing>, sampler.timestep_spacing);
  reader.Read("steps_offset", sampler.steps_offset);
}

bool IsDdpmOrDdim(SamplerKind sampler) {
  return sampler == SamplerKind::kDdpm || sampler == SamplerKind::kDdim;
}

bool IsPndm(SamplerKind sampler) {
  return sampler == SamplerKind::kPndm || sampler == SamplerKind::kPlms;
}

bool IsDeis(SamplerKind sampler) { return sampler == SamplerKind::kDeis; }

bool IsSolver(SamplerKind sampler) { return SamplerReads(sampler, "solver_order"); }

// Copies the parts of the schedule that a request may change to the sampler's options.
void AdoptSchedule(SchedulerConfig& config) {
  if (const EdmOptions* edm = std::get_if<EdmOptions>(&config.schedule)) {
    config.sampler.sigma_min = edm->sigma_min;
    config.sampler.sigma_max = edm->sigma_max;
    config.sampler.rho = edm->rho;
  }
  if (const FlowOptions* flow = std::get_if<FlowOptions>(&config.schedule)) {
    config.sampler.flow_shift = ShiftOf(*flow);
    config.sampler.prediction_type = flow->invert_sigmas ? PredictionType::kInvertedFlowPrediction
                                                         : PredictionType::kFlowPrediction;
  }
}

}  // namespace

SamplerOptions ClassDefaults(SamplerKind sampler) {
  SamplerOptions options;
  options.sampler = sampler;
  options.clip_sample = IsDdpmOrDdim(sampler);
  options.timestep_spacing = SamplerReads(sampler, "sigma_spacing") ? TimestepSpacing::kLinspace
                                                                    : TimestepSpacing::kLeading;
  options.set_alpha_to_one = !IsPndm(sampler);
  if (sampler == SamplerKind::kTcd) options.eta = 0.3;
  options.lower_order_final = !IsSinglestep(sampler);
  if (IsDeis(sampler)) options.final_sigma = FinalSigma::kSigmaMin;
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
  ReadCommon(reader, scheduler_class, config.sampler);
  scheduler_class.read(reader, config.sampler);
  RETURN_IF_ERROR(reader.status());
  config.ignored_keys = reader.UnknownKeys();
  RETURN_IF_ERROR(Schedule::Create(config.schedule).status());
  AdoptSchedule(config);
  FieldViolations violations = ValidateSamplerOptions(config.sampler);
  CheckFamily(config.sampler, scheduler_class.family, violations);
  RETURN_IF_ERROR(violations.ToStatus());
  return config;
}

void SetImageSize(int64_t height, int64_t width, SchedulerConfig& config) {
  FlowOptions* flow = std::get_if<FlowOptions>(&config.schedule);
  if (flow == nullptr) return;
  flow->image_seq_len = height * width;
  AdoptSchedule(config);
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

  const auto both_read = [&](std::string_view option) {
    return SamplerReads(from.sampler, option) && SamplerReads(sampler, option);
  };
  if (both_read("clip_sample")) {
    to.clip_sample = from.clip_sample;
    to.clip_sample_range = from.clip_sample_range;
  }
  if (both_read("set_alpha_to_one")) to.set_alpha_to_one = from.set_alpha_to_one;
  if (both_read("original_inference_steps")) {
    to.original_inference_steps = from.original_inference_steps;
  }
  if (both_read("final_sigma") && !IsDeis(from.sampler) && !IsDeis(sampler)) {
    to.final_sigma = from.final_sigma;  // DEIS has no such choice
  }
  // Only solvers use flow levels on a schedule that is not a flow.
  const bool flow = from.sigma_spacing == SigmaSpacing::kFlow;
  const bool flow_schedule = std::holds_alternative<FlowOptions>(config.schedule);
  if (both_read("sigma_spacing") && (IsSolver(sampler) || flow_schedule || !flow)) {
    to.sigma_spacing = from.sigma_spacing;
    if (flow) to.final_sigma = FinalSigma::kZero;
    to.sigma_min = from.sigma_min;
    to.sigma_max = from.sigma_max;
    to.rho = from.rho;
  }
  to.flow_shift = from.flow_shift;
  to.timestep_type = from.timestep_type;
  if (both_read("solver_order")) {
    to.solver_order = from.solver_order;
    // In singlestep solvers it has another meaning: it completes a block.
    if (!IsSinglestep(from.sampler) && !IsSinglestep(sampler)) {
      to.lower_order_final = from.lower_order_final || sampler == SamplerKind::kUniPc;
    }
  }
  if (both_read("solver_type") && from.sampler != SamplerKind::kUniPc &&
      sampler != SamplerKind::kUniPc) {
    to.solver_type = from.solver_type;
  }
  if (both_read("predict_x0")) to.predict_x0 = from.predict_x0;
  if (both_read("euler_at_final")) to.euler_at_final = from.euler_at_final;
  if (both_read("lambda_min_clipped")) to.lambda_min_clipped = from.lambda_min_clipped;
  return to;
}

}  // namespace denoise
