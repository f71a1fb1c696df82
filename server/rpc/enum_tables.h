// The enums of denoised.v1 beside those of the core. UNSPECIFIED is in no table: it means a
// default, which is somewhere else's to know.
#pragma once

#include <optional>
#include <utility>

#include "core/sampling/sampler_options.h"
#include "denoised/v1/sampler.pb.h"

namespace denoise {

template <class Proto, class Core, size_t size>
using EnumTable = std::pair<Proto, Core>[size];

inline constexpr EnumTable<denoised::v1::Sampler, SamplerKind, 6> kSamplers = {
    {denoised::v1::SAMPLER_DDPM, SamplerKind::kDdpm},
    {denoised::v1::SAMPLER_DDIM, SamplerKind::kDdim},
    {denoised::v1::SAMPLER_DPM_SOLVER, SamplerKind::kDpmSolver},
    {denoised::v1::SAMPLER_DPMPP, SamplerKind::kDpmSolverPlusPlus},
    {denoised::v1::SAMPLER_DPMPP_SDE, SamplerKind::kSdeDpmSolverPlusPlus},
    {denoised::v1::SAMPLER_UNIPC, SamplerKind::kUniPc},
};

inline constexpr EnumTable<denoised::v1::TimestepSpacing, TimestepSpacing, 3> kTimestepSpacings = {
    {denoised::v1::TIMESTEP_SPACING_LEADING, TimestepSpacing::kLeading},
    {denoised::v1::TIMESTEP_SPACING_TRAILING, TimestepSpacing::kTrailing},
    {denoised::v1::TIMESTEP_SPACING_LINSPACE, TimestepSpacing::kLinspace},
};

inline constexpr EnumTable<denoised::v1::SigmaSpacing, SigmaSpacing, 5> kSigmaSpacings = {
    {denoised::v1::SIGMA_SPACING_TIMESTEPS, SigmaSpacing::kTimesteps},
    {denoised::v1::SIGMA_SPACING_KARRAS, SigmaSpacing::kKarras},
    {denoised::v1::SIGMA_SPACING_EXPONENTIAL, SigmaSpacing::kExponential},
    {denoised::v1::SIGMA_SPACING_LU, SigmaSpacing::kLu},
    {denoised::v1::SIGMA_SPACING_FLOW, SigmaSpacing::kFlow},
};

inline constexpr EnumTable<denoised::v1::VarianceType, VarianceType, 6> kVarianceTypes = {
    {denoised::v1::VARIANCE_TYPE_FIXED_SMALL, VarianceType::kFixedSmall},
    {denoised::v1::VARIANCE_TYPE_FIXED_SMALL_LOG, VarianceType::kFixedSmallLog},
    {denoised::v1::VARIANCE_TYPE_FIXED_LARGE, VarianceType::kFixedLarge},
    {denoised::v1::VARIANCE_TYPE_FIXED_LARGE_LOG, VarianceType::kFixedLargeLog},
    {denoised::v1::VARIANCE_TYPE_LEARNED, VarianceType::kLearned},
    {denoised::v1::VARIANCE_TYPE_LEARNED_RANGE, VarianceType::kLearnedRange},
};

inline constexpr EnumTable<denoised::v1::SolverType, SolverType, 4> kSolverTypes = {
    {denoised::v1::SOLVER_TYPE_MIDPOINT, SolverType::kMidpoint},
    {denoised::v1::SOLVER_TYPE_HEUN, SolverType::kHeun},
    {denoised::v1::SOLVER_TYPE_BH1, SolverType::kBh1},
    {denoised::v1::SOLVER_TYPE_BH2, SolverType::kBh2},
};

inline constexpr EnumTable<denoised::v1::FinalSigma, FinalSigma, 2> kFinalSigmas = {
    {denoised::v1::FINAL_SIGMA_ZERO, FinalSigma::kZero},
    {denoised::v1::FINAL_SIGMA_SIGMA_MIN, FinalSigma::kSigmaMin},
};

// nullopt for values that the table does not have; proto3 lets any number through.
template <class Proto, class Core, size_t size>
std::optional<Core> EnumToCore(const std::pair<Proto, Core> (&table)[size], Proto value) {
  for (const auto& [proto, core] : table) {
    if (proto == value) return core;
  }
  return std::nullopt;
}

template <class Proto, class Core, size_t size>
Proto EnumToProto(const std::pair<Proto, Core> (&table)[size], Core value) {
  for (const auto& [proto, core] : table) {
    if (core == value) return proto;
  }
  return Proto{};  // UNSPECIFIED: a kind that the contract does not name yet
}

}  // namespace denoise
