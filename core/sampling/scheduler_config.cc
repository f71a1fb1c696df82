#include "core/sampling/scheduler_config.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/sampling/flat_json.h"
#include "core/sampling/option_names.h"
#include "core/sampling/sampler_validation.h"

namespace denoise {
namespace {

// Every key that some scheduler class of the library documents, less those that all classes have.
constexpr std::string_view kLibraryKeys[] = {"algorithm_type",
                                             "base_image_seq_len",
                                             "base_shift",
                                             "clip_sample",
                                             "clip_sample_range",
                                             "disable_corrector",
                                             "euler_at_final",
                                             "final_sigmas_type",
                                             "flow_shift",
                                             "interpolation_type",
                                             "invert_sigmas",
                                             "lambda_min_clipped",
                                             "lower_order_final",
                                             "max_image_seq_len",
                                             "max_shift",
                                             "original_inference_steps",
                                             "predict_x0",
                                             "rho",
                                             "set_alpha_to_one",
                                             "shift",
                                             "shift_terminal",
                                             "sigma_data",
                                             "sigma_max",
                                             "sigma_min",
                                             "sigma_schedule",
                                             "skip_prk_steps",
                                             "solver_order",
                                             "solver_p",
                                             "solver_type",
                                             "stochastic_sampling",
                                             "time_shift_type",
                                             "timestep_scaling",
                                             "timestep_type",
                                             "use_beta_sigmas",
                                             "use_dynamic_shifting",
                                             "use_exponential_sigmas",
                                             "use_flow_sigmas",
                                             "use_karras_sigmas",
                                             "use_lu_lambdas",
                                             "variance_type"};

// Text from outside, fit to stand in a message.
std::string Printable(std::string_view text) {
  constexpr size_t kMaxLength = 64;
  std::string printable;
  for (char c : text.substr(0, kMaxLength)) printable += c >= ' ' && c <= '~' ? c : '?';
  return text.size() > kMaxLength ? printable + "..." : printable;
}

// Reads the keys that a scheduler class documents. Every Read leaves its target alone where the key
// is absent, and collects a violation where the value is not of its type; what no Read asked for is
// a violation, too.
class ConfigReader {
 public:
  explicit ConfigReader(const FlatJson& config) : config_(config) {}

  void Read(const char* key, bool& target) { ReadScalar(key, target, "true or false"); }
  void Read(const char* key, double& target) { ReadScalar(key, target, "a number"); }

  void Read(const char* key, int& target) {
    double number = target;
    ReadScalar(key, number, "a number");
    if (IsInt(number)) {
      target = static_cast<int>(number);
    } else {
      Violate(key, "must be a whole number");
    }
  }

  template <typename Enum>
  void ReadEnum(const char* key, Enum& target) {
    std::string name(NameOf(target));
    ReadScalar(key, name, "a string");
    if (const std::optional<Enum> value = FromName<Enum>(name)) {
      target = *value;
    } else {
      Violate(key, absl::StrCat("must be one of ", NameList<Enum>(), "; is ", Printable(name)));
    }
  }

  void ReadString(const char* key, std::string& target) { ReadScalar(key, target, "a string"); }

  void ReadList(const char* key, std::vector<double>& target) {
    const JsonField* field = Take(key);
    if (field == nullptr) return;
    const JsonList* list = std::get_if<JsonList>(field);
    if (list == nullptr) return Violate(key, "must be a list of numbers");
    for (const JsonScalar& item : *list) {
      const double* number = std::get_if<double>(&item);
      if (number == nullptr) return Violate(key, "must be a list of numbers");
      target.push_back(*number);
    }
  }

  void ReadList(const char* key, std::vector<int>& target) {
    std::vector<double> numbers;
    ReadList(key, numbers);
    for (double number : numbers) {
      if (!IsInt(number)) return Violate(key, "must be a list of whole numbers");
      target.push_back(static_cast<int>(number));
    }
  }

  // A key that is documented, but whose every value except `supported` asks for something we do not
  // do.
  void Require(const char* key, bool supported) {
    bool value = supported;
    Read(key, value);
    if (value != supported)
      Violate(key, absl::StrCat(value ? "true" : "false", " is not supported"));
  }
  void RequireAbsent(const char* key) {
    if (Take(key) != nullptr) Violate(key, "is not supported");
  }

  // Keys with a leading underscore are the library's own notes, and null means that nothing was
  // chosen. Keys of other scheduler classes stay in a config that the library passes from one class
  // to another; as there, they mean nothing here.
  void RefuseUnknownKeys(std::string_view class_name) {
    for (const auto& [key, field] : config_) {
      if (key.starts_with('_') || known_.contains(key) || IsNull(field)) continue;
      if (std::find(std::begin(kLibraryKeys), std::end(kLibraryKeys), key) !=
          std::end(kLibraryKeys))
        continue;
      Violate(Printable(key), absl::StrCat("is not a key of ", std::string(class_name)));
    }
  }

  void Violate(std::string_view key, std::string_view description) {
    violations_.Add(key, description);
  }

  FieldViolations& violations() { return violations_; }

 private:
  static bool IsInt(double number) {
    return std::trunc(number) == number && std::abs(number) <= std::numeric_limits<int>::max();
  }

  static bool IsNull(const JsonField& field) {
    const JsonScalar* scalar = std::get_if<JsonScalar>(&field);
    return scalar != nullptr && std::holds_alternative<std::nullptr_t>(*scalar);
  }

  // The field, or null where the key is absent or null.
  const JsonField* Take(const char* key) {
    known_.insert(key);
    const auto it = config_.find(key);
    return it == config_.end() || IsNull(it->second) ? nullptr : &it->second;
  }

  template <typename T>
  void ReadScalar(const char* key, T& target, std::string_view type) {
    const JsonField* field = Take(key);
    if (field == nullptr) return;
    const JsonScalar* scalar = std::get_if<JsonScalar>(field);
    const T* value = scalar == nullptr ? nullptr : std::get_if<T>(scalar);
    if (value == nullptr) return Violate(key, absl::StrCat("must be ", std::string(type)));
    target = *value;
  }

  const FlatJson& config_;
  std::set<std::string, std::less<>> known_;
  FieldViolations violations_;
};

void ReadSchedule(ConfigReader& reader, ScheduleOptions& schedule) {
  reader.Read("num_train_timesteps", schedule.num_train_timesteps);
  reader.Read("beta_start", schedule.beta_start);
  reader.Read("beta_end", schedule.beta_end);
  reader.ReadEnum("beta_schedule", schedule.beta_schedule);
  reader.ReadList("trained_betas", schedule.trained_betas);
  reader.Read("rescale_betas_zero_snr", schedule.rescale_betas_zero_snr);
}

// The keys that all four classes have.
void ReadCommon(ConfigReader& reader, SchedulerConfig& config) {
  ReadSchedule(reader, config.schedule);
  SamplerOptions& sampler = config.sampler;
  reader.ReadEnum("prediction_type", sampler.prediction_type);
  reader.ReadEnum("timestep_spacing", sampler.timestep_spacing);
  reader.Read("steps_offset", sampler.steps_offset);
  reader.Read("thresholding", sampler.thresholding);
  reader.Read("dynamic_thresholding_ratio", sampler.dynamic_thresholding_ratio);
  reader.Read("sample_max_value", sampler.sample_max_value);
}

void ReadDdpm(ConfigReader& reader, SamplerOptions& sampler) {
  reader.Read("clip_sample", sampler.clip_sample);
  reader.Read("clip_sample_range", sampler.clip_sample_range);
  reader.ReadEnum("variance_type", sampler.variance_type);
}

void ReadDdim(ConfigReader& reader, SamplerOptions& sampler) {
  reader.Read("clip_sample", sampler.clip_sample);
  reader.Read("clip_sample_range", sampler.clip_sample_range);
  reader.Read("set_alpha_to_one", sampler.set_alpha_to_one);
}

void ReadSigmaSpacing(ConfigReader& reader, bool has_lu, SamplerOptions& sampler) {
  const std::pair<const char*, SigmaSpacing> flags[] = {
      {"use_karras_sigmas", SigmaSpacing::kKarras},
      {"use_exponential_sigmas", SigmaSpacing::kExponential},
      {"use_flow_sigmas", SigmaSpacing::kFlow},
      {"use_lu_lambdas", SigmaSpacing::kLu},
  };
  for (const auto& [key, spacing] : flags) {
    if (spacing == SigmaSpacing::kLu && !has_lu) continue;
    bool wanted = false;
    reader.Read(key, wanted);
    if (!wanted) continue;
    if (sampler.sigma_spacing != SigmaSpacing::kTimesteps) {
      reader.Violate(key, "cannot be true where another sigma spacing is");
    }
    sampler.sigma_spacing = spacing;
  }
  reader.Require("use_beta_sigmas", false);
  reader.Require("use_dynamic_shifting", false);
  std::string time_shift_type;  // only dynamic shifting reads it
  reader.ReadString("time_shift_type", time_shift_type);
}

// The solver's form. Each class takes the other's names for its own default, as configs are passed
// from one to another.
void ReadSolverType(ConfigReader& reader, bool unipc, SamplerOptions& sampler) {
  std::string name(NameOf(unipc ? SolverType::kBh2 : SolverType::kMidpoint));
  reader.ReadString("solver_type", name);
  const std::optional<SolverType> type = FromName<SolverType>(name);
  if (!type.has_value() && name != "logrho") {
    reader.Violate("solver_type", absl::StrCat("must be one of ", NameList<SolverType>(), "; is ",
                                               Printable(name)));
  }
  const bool is_bh = type == SolverType::kBh1 || type == SolverType::kBh2;
  if (type.has_value() && is_bh == unipc) sampler.solver_type = *type;
}

void ReadSolver(ConfigReader& reader, SamplerOptions& sampler) {
  const bool unipc = sampler.sampler == SamplerKind::kUniPc;
  reader.Read("solver_order", sampler.solver_order);
  ReadSolverType(reader, unipc, sampler);
  reader.Read("lower_order_final", sampler.lower_order_final);
  reader.ReadEnum("final_sigmas_type", sampler.final_sigma);
  reader.Read("flow_shift", sampler.flow_shift);
  ReadSigmaSpacing(reader, /*has_lu=*/!unipc, sampler);
}

void ReadDpmSolver(ConfigReader& reader, SamplerOptions& sampler) {
  std::string algorithm = "dpmsolver++";
  reader.ReadString("algorithm_type", algorithm);
  if (algorithm == "dpmsolver") {
    sampler.sampler = SamplerKind::kDpmSolver;
  } else if (algorithm == "sde-dpmsolver++") {
    sampler.sampler = SamplerKind::kSdeDpmSolverPlusPlus;
  } else if (algorithm != "dpmsolver++" &&
             algorithm != "deis") {  // the class takes "deis" for its default
    reader.Violate("algorithm_type",
                   absl::StrCat("must be dpmsolver, dpmsolver++ or sde-dpmsolver++; is ",
                                Printable(algorithm)));
  }
  ReadSolver(reader, sampler);
  reader.Read("euler_at_final", sampler.euler_at_final);
  reader.Read("lambda_min_clipped", sampler.lambda_min_clipped);
  reader.ReadEnum("variance_type", sampler.variance_type);
}

void ReadUniPc(ConfigReader& reader, SamplerOptions& sampler) {
  ReadSolver(reader, sampler);
  reader.ReadList("disable_corrector", sampler.disable_corrector);
  reader.Require("predict_x0", true);
  for (const char* key : {"solver_p", "sigma_min", "sigma_max", "shift_terminal"})
    reader.RequireAbsent(key);
}

struct SchedulerClass {
  std::string_view name;
  SamplerKind sampler;
  void (*read)(ConfigReader&, SamplerOptions&);
};

constexpr SchedulerClass kClasses[] = {
    {"DDPMScheduler", SamplerKind::kDdpm, ReadDdpm},
    {"DDIMScheduler", SamplerKind::kDdim, ReadDdim},
    {"DPMSolverMultistepScheduler", SamplerKind::kDpmSolverPlusPlus, ReadDpmSolver},
    {"UniPCMultistepScheduler", SamplerKind::kUniPc, ReadUniPc},
};

bool IsAncestral(SamplerKind sampler) {
  return sampler == SamplerKind::kDdpm || sampler == SamplerKind::kDdim;
}

absl::StatusOr<SchedulerClass> FindClass(const FlatJson& config) {
  const auto it = config.find("_class_name");
  const JsonScalar* scalar = it == config.end() ? nullptr : std::get_if<JsonScalar>(&it->second);
  const std::string* name = scalar == nullptr ? nullptr : std::get_if<std::string>(scalar);
  if (name == nullptr) return InvalidField("_class_name", "must name a scheduler class");
  std::string names;
  for (const SchedulerClass& candidate : kClasses) {
    if (candidate.name == *name) return candidate;
    (names += names.empty() ? "" : ", ") += candidate.name;
  }
  return InvalidField("_class_name",
                      absl::StrCat("must be one of ", names, "; is ", Printable(*name)));
}

}  // namespace

SamplerOptions ClassDefaults(SamplerKind sampler) {
  SamplerOptions options;
  options.sampler = sampler;
  options.clip_sample = IsAncestral(sampler);
  options.timestep_spacing =
      IsAncestral(sampler) ? TimestepSpacing::kLeading : TimestepSpacing::kLinspace;
  return options;
}

absl::StatusOr<SchedulerConfig> ParseSchedulerConfig(std::string_view json) {
  ASSIGN_OR_RETURN(const FlatJson fields, ParseFlatJson(json));
  ASSIGN_OR_RETURN(const SchedulerClass scheduler_class, FindClass(fields));
  SchedulerConfig config;
  config.class_name = scheduler_class.name;
  config.sampler = ClassDefaults(scheduler_class.sampler);
  ConfigReader reader(fields);
  ReadCommon(reader, config);
  scheduler_class.read(reader, config.sampler);
  reader.RefuseUnknownKeys(scheduler_class.name);
  RETURN_IF_ERROR(reader.violations().ToStatus());
  RETURN_IF_ERROR(Schedule::Create(config.schedule).status());
  RETURN_IF_ERROR(ValidateSamplerOptions(config.sampler).ToStatus());
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

  if (IsAncestral(from.sampler) && IsAncestral(sampler)) {
    to.clip_sample = from.clip_sample;
    to.clip_sample_range = from.clip_sample_range;
  }
  if (!IsAncestral(from.sampler) && !IsAncestral(sampler)) {
    const bool sde = sampler == SamplerKind::kSdeDpmSolverPlusPlus;
    to.solver_order = sde ? std::min(from.solver_order, 2) : from.solver_order;
    to.lower_order_final = from.lower_order_final || sampler == SamplerKind::kUniPc;
    to.final_sigma = from.final_sigma;
    to.sigma_spacing = from.sigma_spacing;
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
