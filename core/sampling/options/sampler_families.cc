#include "core/sampling/options/sampler_families.h"

#include <algorithm>
#include <span>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "core/sampling/options/option_names.h"

namespace denoise {
namespace {

// Samplers that only use a level's alpha and sigma. DDPM, DDIM and similar ones step along
// alphas_cumprod or timesteps and need those of a variance-preserving schedule.
constexpr SamplerKind kEdmSamplers[] = {
    SamplerKind::kEuler,
    SamplerKind::kEulerAncestral,
    SamplerKind::kHeun,
    SamplerKind::kDpmSolver,
    SamplerKind::kDpmSolverPlusPlus,
    SamplerKind::kSdeDpmSolverPlusPlus,
    SamplerKind::kUniPc,
    SamplerKind::kDpmSolverSinglestep,
    SamplerKind::kDpmSolverPlusPlusSinglestep,
    SamplerKind::kSdeDpmSolverPlusPlusSinglestep,
    SamplerKind::kDeis,
};
constexpr PredictionType kEdmPredictions[] = {PredictionType::kEpsilon,
                                              PredictionType::kVPrediction};
constexpr SigmaSpacing kEdmSpacings[] = {SigmaSpacing::kKarras, SigmaSpacing::kExponential,
                                         SigmaSpacing::kBeta};

// The network predicts the end of its trajectory, not the mean of all x0 that an ODE needs.
constexpr SamplerKind kConsistencySamplers[] = {SamplerKind::kConsistency};
constexpr PredictionType kConsistencyPredictions[] = {PredictionType::kEpsilon};
constexpr SigmaSpacing kConsistencySpacings[] = {SigmaSpacing::kKarras};

// Euler ancestral steps in sigma / alpha, which is infinite at the start of a flow.
constexpr SamplerKind kFlowSamplers[] = {
    SamplerKind::kEuler,
    SamplerKind::kHeun,
    SamplerKind::kDpmSolver,
    SamplerKind::kDpmSolverPlusPlus,
    SamplerKind::kSdeDpmSolverPlusPlus,
    SamplerKind::kUniPc,
    SamplerKind::kConsistency,
};
constexpr PredictionType kFlowPredictions[] = {PredictionType::kFlowPrediction,
                                               PredictionType::kInvertedFlowPrediction};
constexpr SigmaSpacing kFlowSpacings[] = {SigmaSpacing::kFlow, SigmaSpacing::kKarras,
                                          SigmaSpacing::kExponential, SigmaSpacing::kBeta};

// What a family accepts. Empty means everything.
struct FamilyRules {
  const char* name;
  std::span<const SamplerKind> samplers;
  std::span<const PredictionType> predictions;
  std::span<const SigmaSpacing> spacings;
};

FamilyRules RulesOf(ScheduleFamily family) {
  switch (family) {
    case ScheduleFamily::kVariancePreserving:
      return {.name = "variance preserving"};
    case ScheduleFamily::kEdm:
      return {.name = "EDM's",
              .samplers = kEdmSamplers,
              .predictions = kEdmPredictions,
              .spacings = kEdmSpacings};
    case ScheduleFamily::kConsistency:
      return {.name = "that of a consistency model",
              .samplers = kConsistencySamplers,
              .predictions = kConsistencyPredictions,
              .spacings = kConsistencySpacings};
    case ScheduleFamily::kFlow:
      return {.name = "that of flow matching",
              .samplers = kFlowSamplers,
              .predictions = kFlowPredictions,
              .spacings = kFlowSpacings};
  }
  return {};
}

template <class Enum>
bool Takes(std::span<const Enum> taken, Enum value) {
  return taken.empty() || std::find(taken.begin(), taken.end(), value) != taken.end();
}

// "euler, heun"
template <class Enum>
std::string ListOf(std::span<const Enum> values) {
  std::string list;
  for (Enum value : values) (list += list.empty() ? "" : ", ") += NameOf(value);
  return list;
}

template <class Enum>
void Check(std::string_view field, std::span<const Enum> taken, Enum value, const char* family,
           FieldViolations& violations) {
  if (Takes(taken, value)) return;
  violations.Add(
      field, absl::StrCat("must be one of ", ListOf(taken), ", as the noise schedule is ", family,
                          "; is ", std::string(NameOf(value))));
}

void Require(bool holds, std::string_view field, std::string_view otherwise,
             FieldViolations& violations) {
  if (!holds) violations.Add(field, otherwise);
}

// Some configs of solvers use flow levels on a variance-preserving schedule.
void CheckVariancePreserving(const SamplerOptions& options, FieldViolations& violations) {
  const bool solver = SamplerReads(options.sampler, "solver_order");
  const bool flow_levels = SamplerReads(options.sampler, "sigma_spacing") &&
                           options.sigma_spacing == SigmaSpacing::kFlow;
  Require(!flow_levels || solver, "sigma_spacing",
          "flow is not for this sampler, whose sigma is that of x / alpha", violations);
  Require(!IsFlow(options.prediction_type) || (solver && flow_levels), "prediction_type",
          "flow_prediction needs sigma_spacing flow, which only the solvers have", violations);
  Require(!flow_levels || options.prediction_type != PredictionType::kVPrediction, "sigma_spacing",
          "flow does not go with v_prediction, which needs variance-preserving levels", violations);
}

void CheckFlow(const SamplerOptions& options, FieldViolations& violations) {
  Require(options.sigmas.empty(), "sigmas",
          "are of x / alpha; on a flow give timesteps, sigma times the training timesteps",
          violations);
  Require(options.final_sigma == FinalSigma::kZero, "final_sigma", "must be zero on a flow",
          violations);
  Require(options.sigma_max.value_or(1) <= 1, "sigma_max", "must be at most 1 on a flow",
          violations);
  Require(options.s_churn == 0, "s_churn", "must be 0 on a flow, whose noise takes signal away",
          violations);
}

}  // namespace

bool SuitsFamily(SamplerKind sampler, ScheduleFamily family) {
  if (family == ScheduleFamily::kVariancePreserving) return sampler != SamplerKind::kConsistency;
  return Takes(RulesOf(family).samplers, sampler);
}

void CheckFamily(const SamplerOptions& options, ScheduleFamily family,
                 FieldViolations& violations) {
  const FamilyRules rules = RulesOf(family);
  if (!SuitsFamily(options.sampler, family)) {
    violations.Add("sampler",
                   absl::StrCat(std::string(NameOf(options.sampler)),
                                " is not for this model, whose noise schedule is ", rules.name));
    return;
  }
  Check("prediction_type", rules.predictions, options.prediction_type, rules.name, violations);
  if (SamplerReads(options.sampler, "sigma_spacing")) {
    Check("sigma_spacing", rules.spacings, options.sigma_spacing, rules.name, violations);
  }
  const bool preserving = family == ScheduleFamily::kVariancePreserving;
  if (preserving) CheckVariancePreserving(options, violations);
  if (family == ScheduleFamily::kFlow) CheckFlow(options, violations);
  Require(preserving || !options.rescale_betas_zero_snr.has_value(), "rescale_betas_zero_snr",
          "is for variance-preserving noise schedules only", violations);
}

}  // namespace denoise
