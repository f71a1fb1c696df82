#include "core/sampling/sampler_families.h"

#include <algorithm>
#include <span>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "core/sampling/option_names.h"

namespace denoise {
namespace {

// Those that know of a level nothing but its alpha and sigma. DDPM, DDIM and their kin step along
// alphas_cumprod or timesteps and need both to be those of a variance-preserving schedule.
constexpr SamplerKind kEdmSamplers[] = {
    SamplerKind::kEuler,     SamplerKind::kEulerAncestral,    SamplerKind::kHeun,
    SamplerKind::kDpmSolver, SamplerKind::kDpmSolverPlusPlus, SamplerKind::kSdeDpmSolverPlusPlus,
    SamplerKind::kUniPc,
};

constexpr PredictionType kEdmPredictions[] = {PredictionType::kEpsilon,
                                              PredictionType::kVPrediction};
constexpr SigmaSpacing kEdmSpacings[] = {SigmaSpacing::kKarras, SigmaSpacing::kExponential};

// What one family takes. Empty: everything.
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
      return {.name = "that of a consistency model"};
    case ScheduleFamily::kFlow:
      return {.name = "that of flow matching"};
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

}  // namespace

bool SuitsFamily(SamplerKind sampler, ScheduleFamily family) {
  return Takes(RulesOf(family).samplers, sampler);
}

void CheckFamily(const SamplerOptions& options, ScheduleFamily family,
                 FieldViolations& violations) {
  const FamilyRules rules = RulesOf(family);
  Check("sampler", rules.samplers, options.sampler, rules.name, violations);
  if (!Takes(rules.samplers, options.sampler)) return;
  Check("prediction_type", rules.predictions, options.prediction_type, rules.name, violations);
  if (SamplerReads(options.sampler, "sigma_spacing")) {
    Check("sigma_spacing", rules.spacings, options.sigma_spacing, rules.name, violations);
  }
}

}  // namespace denoise
