#include "core/sampling/sampler_options.h"

#include <array>
#include <cstdint>
#include <utility>

#include "core/sampling/option_names.h"

namespace denoise {
namespace {

// Names that fix the solver's order as well.
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
    Alias{"unipc_1", {SamplerKind::kUniPc, 1}},
    Alias{"unipc_2", {SamplerKind::kUniPc, 2}},
    Alias{"unipc_3", {SamplerKind::kUniPc, 3}},
};

using SamplerSet = uint32_t;

constexpr SamplerSet In(SamplerKind sampler) { return 1u << static_cast<int>(sampler); }

constexpr SamplerSet kDdpm = In(SamplerKind::kDdpm);
constexpr SamplerSet kDdim = In(SamplerKind::kDdim);
constexpr SamplerSet kOde = In(SamplerKind::kDpmSolver) | In(SamplerKind::kDpmSolverPlusPlus);
constexpr SamplerSet kDpm = kOde | In(SamplerKind::kSdeDpmSolverPlusPlus);
constexpr SamplerSet kUniPc = In(SamplerKind::kUniPc);
constexpr SamplerSet kSolvers = kDpm | kUniPc;
constexpr SamplerSet kAll = kDdpm | kDdim | kSolvers;

// Which samplers read which option, in the order of SamplerOptions.
constexpr std::pair<std::string_view, SamplerSet> kReaders[] = {
    {"sampler", kAll},
    {"steps", kAll},
    {"timesteps", kAll},
    {"prediction_type", kAll},
    {"timestep_spacing", kAll},
    {"steps_offset", kAll},
    {"clip_sample", kDdpm | kDdim},
    {"clip_sample_range", kDdpm | kDdim},
    {"thresholding", kAll},
    {"dynamic_thresholding_ratio", kAll},
    {"sample_max_value", kAll},
    {"variance_type", kDdpm},
    {"eta", kDdim},
    {"use_clipped_model_output", kDdim},
    {"set_alpha_to_one", kDdim},
    {"step_to_listed_timestep", kDdim},
    {"solver_order", kSolvers},
    {"solver_type", kSolvers},
    {"lower_order_final", kSolvers},
    {"euler_at_final", kDpm},
    {"final_sigma", kSolvers},
    {"sigma_spacing", kSolvers},
    {"flow_shift", kSolvers},
    {"lambda_min_clipped", kDpm},
    {"disable_corrector", kUniPc},
    {"corrected_third_order", kOde},
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

bool SamplerReads(SamplerKind sampler, std::string_view option) {
  for (const auto& [name, readers] : kReaders) {
    if (name == option) return (readers & In(sampler)) != 0;
  }
  return false;
}

std::vector<std::string_view> OptionsOf(SamplerKind sampler) {
  std::vector<std::string_view> options;
  for (const auto& [name, readers] : kReaders) {
    if (readers & In(sampler)) options.push_back(name);
  }
  return options;
}

}  // namespace denoise
