#include "client/cli/sampler_flags.h"

#include <CLI/Error.hpp>
#include <CLI/Option.hpp>
#include <algorithm>
#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/sampling/option_names.h"
#include "core/sampling/option_table.h"
#include "proto/conversion/sampler_proto.h"

namespace denoise {
namespace {

std::string FlagName(std::string_view option) {
  std::string flag = "--" + std::string(option);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

// Declares flags one by one.
class Declarer {
 public:
  Declarer(CLI::App& app, const char* group, SamplerOverrides& overrides)
      : app_(app), group_(group), overrides_(overrides) {}

  template <class Value, class Setting>
  void Declare(const OptionEntry<Value, Setting>& option) {
    Declare(FlagName(option.name), option.help, overrides_.*option.in_overrides);
  }

 private:
  // Parsing runs through the flags as they were declared, this one first: --solver-order has the
  // last word.
  void Declare(const std::string& flag, const char* help, std::optional<SamplerKind>& sampler) {
    const auto parse = [&overrides = overrides_, &sampler](const std::string& name) {
      const std::optional<NamedSampler> named = ParseSampler(name);
      if (!named.has_value()) return false;
      sampler = named->sampler;
      overrides.solver_order = named->solver_order;
      return true;
    };
    DeclareName(flag, help, SamplerNameList(), parse);
  }

  template <class T>
  void Declare(const std::string& flag, const char* help, std::optional<T>& setting) {
    if constexpr (std::is_enum_v<T>) {
      DeclareName(flag, help, NameList<T>(), [&setting](const std::string& name) {
        setting = FromName<T>(name);
        return setting.has_value();
      });
    } else {
      app_.add_option(flag, setting, help)->group(group_);
    }
  }

  template <class T>
  void Declare(const std::string& flag, const char* help, std::vector<T>& setting) {
    app_.add_option(flag, setting, help)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->type_name("N,N,...")
        ->group(group_);
  }

  // `parse` takes the text and says whether it knows it.
  template <class Parse>
  void DeclareName(const std::string& flag, const char* help, const std::string& names,
                   Parse parse) {
    const auto callback = [flag, names, parse](const std::string& text) {
      if (!parse(text))
        throw CLI::ValidationError(flag, "must be one of " + names + "; is " + text);
    };
    app_.add_option_function<std::string>(flag, callback, absl::StrCat(help, ": ", names))
        ->type_name("NAME")
        ->group(group_);
  }

  CLI::App& app_;
  const char* group_;
  SamplerOverrides& overrides_;
};

void AddFlags(CLI::App& app, OptionSource source, const char* group, SamplerOverrides& overrides) {
  Declarer declarer(app, group, overrides);
  ForEachOption([&](const auto& option) {
    if (option.source == source) declarer.Declare(option);
  });
}

}  // namespace

void AddSamplerFlags(CLI::App& app, SamplerOverrides& overrides) {
  AddFlags(app, OptionSource::kRequest, "Sampler", overrides);
}

void AddCheckpointFlags(CLI::App& app, SamplerOverrides& overrides) {
  AddFlags(app, OptionSource::kCheckpoint, "Checkpoint", overrides);
}

std::string SamplerFlagName(const denoised::v1::SamplerOptions& options) {
  if (options.sampler() == denoised::v1::SAMPLER_UNSPECIFIED) return "default";
  FieldViolations unknown;
  const SamplerOverrides overrides = SamplerFromProto(options, unknown);
  if (!overrides.sampler.has_value()) return "unknown";
  return std::string(FullSamplerName({*overrides.sampler, overrides.solver_order}));
}

}  // namespace denoise
