#include "core/sampling/options/sampler_overrides.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/sampling/options/option_table.h"

namespace denoise {
namespace {

template <class T>
bool IsSet(const std::optional<T>& setting) {
  return setting.has_value();
}

template <class T>
bool IsSet(const std::vector<T>& setting) {
  return !setting.empty();
}

// Applies options one after the other.
class Applier {
 public:
  Applier(SamplerOptions& options, int max_steps, FieldViolations& violations)
      : options_(options), max_steps_(max_steps), violations_(violations) {}

  template <class Value, class Setting>
  void Apply(const OptionEntry<Value, Setting>& option, const Setting& setting) {
    if (!IsSet(setting)) return;
    Value& target = options_.*option.in_options;
    if (!option.IsReadBy(options_.sampler)) {
      violations_.Add(option.name,
                      std::string("is not an option of ").append(SamplerName(options_.sampler)));
    } else if (!option.condition.holds(options_)) {
      violations_.Add(option.name, option.condition.otherwise);
    } else if (IsUsable(option.name, setting, SamplerOptions().*option.in_options)) {
      if constexpr (std::is_same_v<Value, Setting>) {
        target = setting;
      } else {
        target = *setting;
      }
    }
  }

 private:
  template <class T, class Value>
  bool IsUsable(std::string_view field, const std::optional<T>& setting, const Value& absent) {
    if constexpr (std::is_floating_point_v<T>) {
      // Infinity may be an option's own value for "none".
      if (*setting != absent) return IsFinite(field, *setting);
    }
    return true;
  }

  template <class T>
  bool IsUsable(std::string_view field, const std::vector<T>& setting, const std::vector<T>&) {
    if (setting.size() > static_cast<size_t>(max_steps_)) {
      violations_.Add(field, absl::StrCat("must list at most ", max_steps_, " numbers, lists ",
                                          setting.size()));
      return false;
    }
    for (size_t i = 0; i < setting.size(); ++i) {
      if (!IsFinite(absl::StrCat(std::string(field), "[", i, "]"), setting[i])) return false;
    }
    return true;
  }

  bool IsFinite(std::string_view field, double number) {
    if (std::isfinite(number)) return true;
    violations_.Add(field, "must be finite");
    return false;
  }

  SamplerOptions& options_;
  int max_steps_;
  FieldViolations& violations_;
};

// Checks of the number of steps that are not in the table. Ignores a number out of range.
SamplerOverrides CheckSteps(SamplerOverrides overrides, int max_steps,
                            FieldViolations& violations) {
  if (!overrides.steps.has_value()) return overrides;
  const int steps = *overrides.steps;
  if (steps < 1 || steps > max_steps) {
    violations.Add("steps", absl::StrCat("must be between 1 and ", max_steps, ", is ", steps));
    overrides.steps.reset();
  }
  for (const auto& [given, field] : {std::pair(!overrides.timesteps.empty(), "timesteps"),
                                     std::pair(!overrides.sigmas.empty(), "sigmas")}) {
    if (given) violations.Add(field, "cannot be given together with steps");
  }
  return overrides;
}

}  // namespace

ResolvedSampler ApplyOverrides(const SamplerOptions& defaults, const SamplerOverrides& overrides,
                               int max_steps) {
  SamplerOptions options = defaults;
  options.steps = std::min(options.steps, max_steps);
  FieldViolations violations;
  const SamplerOverrides checked = CheckSteps(overrides, max_steps, violations);
  Applier applier(options, max_steps, violations);
  ForEachOption([&](const auto& option) { applier.Apply(option, checked.*option.in_overrides); });
  return {std::move(options), violations.ToStatus()};
}

SamplerOverrides EffectiveOverrides(SamplerOptions options) {
  options.solver_type = ResolvedSolverType(options);
  SamplerOverrides effective;
  ForEachOption([&](const auto& option) {
    if (option.HasEffect(options)) {
      effective.*option.in_overrides = options.*option.in_options;
    }
  });
  return effective;
}

}  // namespace denoise
