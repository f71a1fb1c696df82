// The names of the sampling enumerations in configs, protocols and flags. Each has one table, which
// reading, printing and listing all use.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/sampling/options/sampler_options.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {

template <typename Enum, size_t N>
using NameTable = std::array<std::pair<std::string_view, Enum>, N>;

template <typename Enum>
inline constexpr auto kNames = nullptr;  // no names for this type

template <>
inline constexpr auto kNames<BetaSchedule> = NameTable<BetaSchedule, 4>{{
    {"linear", BetaSchedule::kLinear},
    {"scaled_linear", BetaSchedule::kScaledLinear},
    {"squaredcos_cap_v2", BetaSchedule::kSquaredCosCapV2},
    {"sigmoid", BetaSchedule::kSigmoid},
}};

template <>
inline constexpr auto kNames<SamplerKind> = NameTable<SamplerKind, 20>{{
    {"ddpm", SamplerKind::kDdpm},
    {"ddim", SamplerKind::kDdim},
    {"dpm_solver", SamplerKind::kDpmSolver},
    {"dpmpp", SamplerKind::kDpmSolverPlusPlus},
    {"dpmpp_sde", SamplerKind::kSdeDpmSolverPlusPlus},
    {"unipc", SamplerKind::kUniPc},
    {"euler", SamplerKind::kEuler},
    {"euler_a", SamplerKind::kEulerAncestral},
    {"heun", SamplerKind::kHeun},
    {"dpm_solver_singlestep", SamplerKind::kDpmSolverSinglestep},
    {"dpmpp_singlestep", SamplerKind::kDpmSolverPlusPlusSinglestep},
    {"dpmpp_sde_singlestep", SamplerKind::kSdeDpmSolverPlusPlusSinglestep},
    {"deis", SamplerKind::kDeis},
    {"pndm", SamplerKind::kPndm},
    {"plms", SamplerKind::kPlms},
    {"lcm", SamplerKind::kLcm},
    {"tcd", SamplerKind::kTcd},
    {"vp_sde", SamplerKind::kVpSde},
    {"vp_ode", SamplerKind::kVpOde},
    {"consistency", SamplerKind::kConsistency},
}};

template <>
inline constexpr auto kNames<PredictionType> = NameTable<PredictionType, 5>{{
    {"epsilon", PredictionType::kEpsilon},
    {"sample", PredictionType::kSample},
    {"v_prediction", PredictionType::kVPrediction},
    {"flow_prediction", PredictionType::kFlowPrediction},
    {"inverted_flow_prediction", PredictionType::kInvertedFlowPrediction},
}};

template <>
inline constexpr auto kNames<TimestepSpacing> = NameTable<TimestepSpacing, 3>{{
    {"leading", TimestepSpacing::kLeading},
    {"trailing", TimestepSpacing::kTrailing},
    {"linspace", TimestepSpacing::kLinspace},
}};

template <>
inline constexpr auto kNames<VarianceType> = NameTable<VarianceType, 6>{{
    {"fixed_small", VarianceType::kFixedSmall},
    {"fixed_small_log", VarianceType::kFixedSmallLog},
    {"fixed_large", VarianceType::kFixedLarge},
    {"fixed_large_log", VarianceType::kFixedLargeLog},
    {"learned", VarianceType::kLearned},
    {"learned_range", VarianceType::kLearnedRange},
}};

template <>
inline constexpr auto kNames<SolverType> = NameTable<SolverType, 4>{{
    {"midpoint", SolverType::kMidpoint},
    {"heun", SolverType::kHeun},
    {"bh1", SolverType::kBh1},
    {"bh2", SolverType::kBh2},
}};

template <>
inline constexpr auto kNames<SigmaSpacing> = NameTable<SigmaSpacing, 6>{{
    {"timesteps", SigmaSpacing::kTimesteps},
    {"karras", SigmaSpacing::kKarras},
    {"exponential", SigmaSpacing::kExponential},
    {"lu", SigmaSpacing::kLu},
    {"flow", SigmaSpacing::kFlow},
    {"beta", SigmaSpacing::kBeta},
}};

template <>
inline constexpr auto kNames<FinalSigma> = NameTable<FinalSigma, 2>{{
    {"zero", FinalSigma::kZero},
    {"sigma_min", FinalSigma::kSigmaMin},
}};

template <>
inline constexpr auto kNames<InterpolationType> = NameTable<InterpolationType, 2>{{
    {"linear", InterpolationType::kLinear},
    {"log_linear", InterpolationType::kLogLinear},
}};

template <>
inline constexpr auto kNames<TimestepType> = NameTable<TimestepType, 2>{{
    {"discrete", TimestepType::kDiscrete},
    {"continuous", TimestepType::kContinuous},
}};

template <>
inline constexpr auto kNames<TimeShiftType> = NameTable<TimeShiftType, 2>{{
    {"exponential", TimeShiftType::kExponential},
    {"linear", TimeShiftType::kLinear},
}};

// "karras"; empty for a value outside the enumeration.
template <typename Enum>
std::string_view NameOf(Enum value) {
  for (const auto& [name, named] : kNames<Enum>) {
    if (named == value) return name;
  }
  return {};
}

template <typename Enum>
std::optional<Enum> FromName(std::string_view name) {
  for (const auto& [known, value] : kNames<Enum>) {
    if (known == name) return value;
  }
  return std::nullopt;
}

// "zero, sigma_min"
template <typename Enum>
std::string NameList() {
  std::string list;
  for (const auto& entry : kNames<Enum>) {
    if (!list.empty()) list += ", ";
    list += entry.first;
  }
  return list;
}

}  // namespace denoise
