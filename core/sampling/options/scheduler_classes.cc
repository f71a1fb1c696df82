#include "core/sampling/options/scheduler_classes.h"

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/sampling/options/option_names.h"

namespace denoise {
namespace {

// Reads a documented key of which only the value `supported` is supported.
void Require(ConfigReader& reader, const char* key, bool supported) {
  bool value = supported;
  reader.Read(key, value);
  if (value == supported) return;
  reader.Violate(key, absl::StrCat(value ? "true" : "false", " is not supported"));
}

void ReadOptional(ConfigReader& reader, const char* key, std::optional<double>& target) {
  if (reader.Find(key) == nullptr) return;
  double value = 0;
  reader.Read(key, value);
  target = value;
}

void RequireAbsent(ConfigReader& reader, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (reader.Find(key) != nullptr) reader.Violate(key, "is not supported");
  }
}

void ReadClipping(ConfigReader& reader, SamplerOptions& sampler) {
  reader.Read("clip_sample", sampler.clip_sample);
  reader.Read("clip_sample_range", sampler.clip_sample_range);
}

void ReadThresholding(ConfigReader& reader, SamplerOptions& sampler) {
  reader.Read("thresholding", sampler.thresholding);
  reader.Read("dynamic_thresholding_ratio", sampler.dynamic_thresholding_ratio);
  reader.Read("sample_max_value", sampler.sample_max_value);
}

void ReadDdpm(ConfigReader& reader, SamplerOptions& sampler) {
  ReadThresholding(reader, sampler);
  ReadClipping(reader, sampler);
  reader.ReadName("variance_type", kNames<VarianceType>, sampler.variance_type);
}

void ReadDdim(ConfigReader& reader, SamplerOptions& sampler) {
  ReadThresholding(reader, sampler);
  ReadClipping(reader, sampler);
  reader.Read("set_alpha_to_one", sampler.set_alpha_to_one);
}

struct SpacingFlag {
  const char* key;
  SigmaSpacing spacing;
};
constexpr SpacingFlag kKarras = {"use_karras_sigmas", SigmaSpacing::kKarras};
constexpr SpacingFlag kExponential = {"use_exponential_sigmas", SigmaSpacing::kExponential};
constexpr SpacingFlag kFlow = {"use_flow_sigmas", SigmaSpacing::kFlow};
constexpr SpacingFlag kBeta = {"use_beta_sigmas", SigmaSpacing::kBeta};
constexpr SpacingFlag kLu = {"use_lu_lambdas", SigmaSpacing::kLu};

void ReadSigmaSpacing(ConfigReader& reader, std::initializer_list<SpacingFlag> flags,
                      SamplerOptions& sampler) {
  for (const auto& [key, spacing] : flags) {
    bool wanted = false;
    reader.Read(key, wanted);
    if (!wanted) continue;
    if (sampler.sigma_spacing != SigmaSpacing::kTimesteps) {
      reader.Violate(key, "cannot be true where another sigma spacing is");
    }
    sampler.sigma_spacing = spacing;
  }
}

// The solver's form. Because configs are converted between classes, each class accepts the other's
// names and uses its own default for them.
void ReadSolverType(ConfigReader& reader, SamplerOptions& sampler) {
  std::string name(NameOf(ResolvedSolverType(sampler)));
  reader.Read("solver_type", name);
  const std::optional<SolverType> type = FromName<SolverType>(name);
  if (!type.has_value() && name != "logrho") {
    reader.Violate("solver_type",
                   absl::StrCat("must be one of ", NameList<SolverType>(), "; is ", Quoted(name)));
  }
  const bool unipc = sampler.sampler == SamplerKind::kUniPc;
  if (type.has_value() && IsUniPcType(*type) == unipc) sampler.solver_type = *type;
}

void ReadSolver(ConfigReader& reader, std::initializer_list<SpacingFlag> spacings,
                SamplerOptions& sampler) {
  ReadThresholding(reader, sampler);
  reader.Read("solver_order", sampler.solver_order);
  ReadSolverType(reader, sampler);
  reader.Read("lower_order_final", sampler.lower_order_final);
  reader.Read("flow_shift", sampler.flow_shift);
  ReadSigmaSpacing(reader, spacings, sampler);
  Require(reader, "use_dynamic_shifting", false);
  std::string time_shift_type;  // only used by dynamic shifting
  reader.Read("time_shift_type", time_shift_type);
}

// What DPM-Solver's two classes share.
void ReadDpmSolver(ConfigReader& reader, std::initializer_list<SpacingFlag> spacings,
                   SamplerOptions& sampler) {
  ReadSolver(reader, spacings, sampler);
  reader.ReadName("final_sigmas_type", kNames<FinalSigma>, sampler.final_sigma);
  reader.Read("lambda_min_clipped", sampler.lambda_min_clipped);
  reader.ReadName("variance_type", kNames<VarianceType>, sampler.variance_type);
}

void ReadDpmSolverMultistep(ConfigReader& reader, SamplerOptions& sampler) {
  static constexpr std::pair<std::string_view, SamplerKind> kAlgorithms[] = {
      {"dpmsolver", SamplerKind::kDpmSolver},
      {"dpmsolver++", SamplerKind::kDpmSolverPlusPlus},
      {"sde-dpmsolver++", SamplerKind::kSdeDpmSolverPlusPlus},
      {"deis", SamplerKind::kDpmSolverPlusPlus},  // the class uses its default for it
  };
  reader.ReadName("algorithm_type", kAlgorithms, sampler.sampler);
  ReadDpmSolver(reader, {kKarras, kExponential, kBeta, kFlow, kLu}, sampler);
  reader.Read("euler_at_final", sampler.euler_at_final);
}

void ReadDpmSolverSinglestep(ConfigReader& reader, SamplerOptions& sampler) {
  static constexpr std::pair<std::string_view, SamplerKind> kAlgorithms[] = {
      {"dpmsolver", SamplerKind::kDpmSolverSinglestep},
      {"dpmsolver++", SamplerKind::kDpmSolverPlusPlusSinglestep},
      {"sde-dpmsolver++", SamplerKind::kSdeDpmSolverPlusPlusSinglestep},
      {"deis", SamplerKind::kDpmSolverPlusPlusSinglestep},  // the class uses its default for it
  };
  reader.ReadName("algorithm_type", kAlgorithms, sampler.sampler);
  ReadDpmSolver(reader, {kKarras, kExponential, kBeta, kFlow}, sampler);
}

void ReadDeis(ConfigReader& reader, SamplerOptions& sampler) {
  static constexpr std::pair<std::string_view, SamplerKind> kAlgorithms[] = {
      {"deis", SamplerKind::kDeis},
      {"dpmsolver", SamplerKind::kDeis},  // the class uses its default for these two
      {"dpmsolver++", SamplerKind::kDeis},
  };
  reader.ReadName("algorithm_type", kAlgorithms, sampler.sampler);
  ReadSolver(reader, {kKarras, kExponential, kBeta, kFlow}, sampler);
  if (sampler.sigma_spacing == SigmaSpacing::kFlow) sampler.final_sigma = FinalSigma::kZero;
}

void ReadUniPc(ConfigReader& reader, SamplerOptions& sampler) {
  ReadSolver(reader, {kKarras, kExponential, kBeta, kFlow}, sampler);
  reader.ReadName("final_sigmas_type", kNames<FinalSigma>, sampler.final_sigma);
  reader.Read("disable_corrector", sampler.disable_corrector);
  reader.Read("predict_x0", sampler.predict_x0);
  RequireAbsent(reader, {"solver_p", "sigma_min", "sigma_max", "shift_terminal"});
}

void ReadEdmSpacing(ConfigReader& reader, SamplerOptions& sampler) {
  static constexpr std::pair<std::string_view, SigmaSpacing> kSpacings[] = {
      {"karras", SigmaSpacing::kKarras},
      {"exponential", SigmaSpacing::kExponential},
  };
  sampler.sigma_spacing = SigmaSpacing::kKarras;
  reader.ReadName("sigma_schedule", kSpacings, sampler.sigma_spacing);
  reader.ReadName("final_sigmas_type", kNames<FinalSigma>, sampler.final_sigma);
}

void ReadEdmDpmSolver(ConfigReader& reader, SamplerOptions& sampler) {
  static constexpr std::pair<std::string_view, SamplerKind> kAlgorithms[] = {
      {"dpmsolver++", SamplerKind::kDpmSolverPlusPlus},
      {"sde-dpmsolver++", SamplerKind::kSdeDpmSolverPlusPlus},
      {"deis", SamplerKind::kDpmSolverPlusPlus},  // the class uses its default for it
  };
  ReadEdmSpacing(reader, sampler);
  ReadThresholding(reader, sampler);
  reader.ReadName("algorithm_type", kAlgorithms, sampler.sampler);
  reader.Read("solver_order", sampler.solver_order);
  ReadSolverType(reader, sampler);
  reader.Read("lower_order_final", sampler.lower_order_final);
  reader.Read("euler_at_final", sampler.euler_at_final);
}

void ReadEuler(ConfigReader& reader, SamplerOptions& sampler) {
  ReadSigmaSpacing(reader, {kKarras, kExponential, kBeta}, sampler);
  reader.ReadName("final_sigmas_type", kNames<FinalSigma>, sampler.final_sigma);
  ReadOptional(reader, "sigma_min", sampler.sigma_min);
  ReadOptional(reader, "sigma_max", sampler.sigma_max);
  reader.ReadName("interpolation_type", kNames<InterpolationType>, sampler.interpolation_type);
  reader.ReadName("timestep_type", kNames<TimestepType>, sampler.timestep_type);
  // The class only uses it for networks that predict v.
  if (sampler.prediction_type != PredictionType::kVPrediction) {
    sampler.timestep_type = TimestepType::kDiscrete;
  }
}

void ReadEulerAncestral(ConfigReader&, SamplerOptions&) {}  // has no keys of its own

void ReadHeun(ConfigReader& reader, SamplerOptions& sampler) {
  ReadClipping(reader, sampler);
  ReadSigmaSpacing(reader, {kKarras, kExponential, kBeta}, sampler);
}

void ReadPndm(ConfigReader& reader, SamplerOptions& sampler) {
  bool skip_prk_steps = false;
  reader.Read("skip_prk_steps", skip_prk_steps);
  if (skip_prk_steps) sampler.sampler = SamplerKind::kPlms;
  reader.Read("set_alpha_to_one", sampler.set_alpha_to_one);
}

void ReadLcm(ConfigReader& reader, SamplerOptions& sampler) {
  ReadThresholding(reader, sampler);
  ReadClipping(reader, sampler);
  reader.Read("original_inference_steps", sampler.original_inference_steps);
  reader.Read("timestep_scaling", sampler.timestep_scaling);
}

// The class documents LCM's other keys, but does nothing with them.
void ReadTcd(ConfigReader& reader, SamplerOptions& sampler) {
  reader.Read("original_inference_steps", sampler.original_inference_steps);
}

void ReadFlowEuler(ConfigReader& reader, SamplerOptions& sampler) {
  sampler.sigma_spacing = SigmaSpacing::kTimesteps;
  ReadSigmaSpacing(reader, {kKarras, kExponential, kBeta}, sampler);
  if (sampler.sigma_spacing == SigmaSpacing::kTimesteps) {
    sampler.sigma_spacing = SigmaSpacing::kFlow;
  }
  bool stochastic_sampling = false;
  reader.Read("stochastic_sampling", stochastic_sampling);
  if (stochastic_sampling) sampler.sampler = SamplerKind::kConsistency;
}

void ReadFlowHeun(ConfigReader&, SamplerOptions& sampler) {
  sampler.sigma_spacing = SigmaSpacing::kFlow;
}

void ReadConsistency(ConfigReader& reader, SamplerOptions& sampler) {
  sampler.sigma_spacing = SigmaSpacing::kKarras;
  sampler.clip_sample = true;
  reader.Read("clip_denoised", sampler.clip_sample);
  reader.Read("s_noise", sampler.s_noise);
}

constexpr std::pair<std::string_view, SchedulerClass> kClasses[] = {
    {"DDPMScheduler", {.sampler = SamplerKind::kDdpm, .read = ReadDdpm}},
    {"DDIMScheduler", {.sampler = SamplerKind::kDdim, .read = ReadDdim}},
    {"DPMSolverMultistepScheduler",
     {.sampler = SamplerKind::kDpmSolverPlusPlus, .read = ReadDpmSolverMultistep}},
    {"DPMSolverSinglestepScheduler",
     {.sampler = SamplerKind::kDpmSolverPlusPlusSinglestep,
      .read = ReadDpmSolverSinglestep,
      .has_zero_snr = false,
      .has_spacing = false}},
    {"DEISMultistepScheduler",
     {.sampler = SamplerKind::kDeis, .read = ReadDeis, .has_zero_snr = false}},
    {"UniPCMultistepScheduler", {.sampler = SamplerKind::kUniPc, .read = ReadUniPc}},
    {"EulerDiscreteScheduler", {.sampler = SamplerKind::kEuler, .read = ReadEuler}},
    {"EulerAncestralDiscreteScheduler",
     {.sampler = SamplerKind::kEulerAncestral, .read = ReadEulerAncestral}},
    {"HeunDiscreteScheduler",
     {.sampler = SamplerKind::kHeun,
      .read = ReadHeun,
      .beta_start = 0.00085,
      .beta_end = 0.012,
      .has_zero_snr = false}},
    {"EDMEulerScheduler",
     {.sampler = SamplerKind::kEuler, .read = ReadEdmSpacing, .family = ScheduleFamily::kEdm}},
    {"EDMDPMSolverMultistepScheduler",
     {.sampler = SamplerKind::kDpmSolverPlusPlus,
      .read = ReadEdmDpmSolver,
      .family = ScheduleFamily::kEdm}},
    {"PNDMScheduler", {.sampler = SamplerKind::kPndm, .read = ReadPndm, .has_zero_snr = false}},
    {"LCMScheduler",
     {.sampler = SamplerKind::kLcm,
      .read = ReadLcm,
      .beta_schedule = BetaSchedule::kScaledLinear,
      .beta_start = 0.00085,
      .beta_end = 0.012,
      .has_spacing = false}},
    {"TCDScheduler",
     {.sampler = SamplerKind::kTcd,
      .read = ReadTcd,
      .beta_schedule = BetaSchedule::kScaledLinear,
      .beta_start = 0.00085,
      .beta_end = 0.012,
      .has_spacing = false}},
    {"FlowMatchEulerDiscreteScheduler",
     {.sampler = SamplerKind::kEuler, .read = ReadFlowEuler, .family = ScheduleFamily::kFlow}},
    {"FlowMatchHeunDiscreteScheduler",
     {.sampler = SamplerKind::kHeun, .read = ReadFlowHeun, .family = ScheduleFamily::kFlow}},
    {"CMStochasticIterativeScheduler",
     {.sampler = SamplerKind::kConsistency,
      .read = ReadConsistency,
      .family = ScheduleFamily::kConsistency}},
};

}  // namespace

NamedValues<SchedulerClass> SchedulerClasses() { return kClasses; }

}  // namespace denoise
