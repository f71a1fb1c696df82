#include "core/sampling/options/sampler_options.h"

#include <array>

#include "core/sampling/options/option_names.h"
#include "core/sampling/options/option_table.h"

namespace denoise {
namespace {

// A name that includes the solver's order.
struct Alias {
  std::string_view name;
  NamedSampler meaning;
};

constexpr std::array kAliases = {
    Alias{"dpm_solver_2", {SamplerKind::kDpmSolver, 2}},
    Alias{"dpm_solver_3", {SamplerKind::kDpmSolver, 3}},
    Alias{"dpmpp_2m", {SamplerKind::kDpmSolverPlusPlus, 2}},
    Alias{"dpmpp_3m", {SamplerKind::kDpmSolverPlusPlus, 3}},
    Alias{"dpmpp_2m_sde", {SamplerKind::kSdeDpmSolverPlusPlus, 2}},
    Alias{"dpmpp_3m_sde", {SamplerKind::kSdeDpmSolverPlusPlus, 3}},
    Alias{"dpm_solver_2s", {SamplerKind::kDpmSolverSinglestep, 2}},
    Alias{"dpm_solver_3s", {SamplerKind::kDpmSolverSinglestep, 3}},
    Alias{"dpmpp_2s", {SamplerKind::kDpmSolverPlusPlusSinglestep, 2}},
    Alias{"dpmpp_3s", {SamplerKind::kDpmSolverPlusPlusSinglestep, 3}},
    Alias{"dpmpp_2s_sde", {SamplerKind::kSdeDpmSolverPlusPlusSinglestep, 2}},
    Alias{"unipc_1", {SamplerKind::kUniPc, 1}},
    Alias{"unipc_2", {SamplerKind::kUniPc, 2}},
    Alias{"unipc_3", {SamplerKind::kUniPc, 3}},
};

}  // namespace

std::string_view SamplerName(SamplerKind sampler) { return NameOf(sampler); }

std::optional<NamedSampler> ParseSampler(std::string_view name) {
  if (const std::optional<SamplerKind> sampler = FromName<SamplerKind>(name)) {
    return NamedSampler{*sampler, std::nullopt};
  }
  for (const Alias& alias : kAliases) {
    if (alias.name == name) return alias.meaning;
  }
  return std::nullopt;
}

std::string SamplerNameList() {
  std::string list = NameList<SamplerKind>();
  for (const Alias& alias : kAliases) (list += ", ") += alias.name;
  return list;
}

std::string_view FullSamplerName(const NamedSampler& sampler) {
  for (const Alias& alias : kAliases) {
    if (alias.meaning == sampler) return alias.name;
  }
  return SamplerName(sampler.sampler);
}

SolverType ResolvedSolverType(const SamplerOptions& options) {
  return options.solver_type.value_or(
      options.sampler == SamplerKind::kUniPc ? SolverType::kBh2 : SolverType::kMidpoint);
}

bool IsSinglestep(SamplerKind sampler) {
  return sampler == SamplerKind::kDpmSolverSinglestep ||
         sampler == SamplerKind::kDpmSolverPlusPlusSinglestep ||
         sampler == SamplerKind::kSdeDpmSolverPlusPlusSinglestep;
}

bool IsSdeSolver(SamplerKind sampler) {
  return sampler == SamplerKind::kSdeDpmSolverPlusPlus ||
         sampler == SamplerKind::kSdeDpmSolverPlusPlusSinglestep;
}

bool IsUniPcType(SolverType type) { return type == SolverType::kBh1 || type == SolverType::kBh2; }

bool SamplerReads(SamplerKind sampler, std::string_view option) {
  bool reads = false;
  ForEachOption([&](const auto& candidate) {
    if (candidate.name == option) reads = candidate.IsReadBy(sampler);
  });
  return reads;
}

}  // namespace denoise
