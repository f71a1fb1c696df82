#include "client/cli/flags/sampler_flags.h"

#include <CLI/Error.hpp>
#include <CLI/Option.hpp>
#include <algorithm>
#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/sampling/options/option_names.h"
#include "core/sampling/options/option_table.h"
#include "proto/conversion/sampler_proto.h"

namespace denoise {
namespace {

std::string FlagName(std::string_view option) {
  std::string flag = "--" + std::string(option);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

CLI::ValidationError UnknownName(const std::string& flag, const std::string& names,
                                 const std::string& name) {
  return CLI::ValidationError(flag, "must be one of " + names + "; is " + name);
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
      if (named->solver_order.has_value()) overrides.solver_order = named->solver_order;
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
        ->type_name("N,N")
        ->group(group_);
  }

  // `parse` takes the text and says whether it knows it.
  template <class Parse>
  void DeclareName(const std::string& flag, const char* help, const std::string& names,
                   Parse parse) {
    const auto callback = [flag, names, parse](const std::string& text) {
      if (!parse(text)) throw UnknownName(flag, names, text);
    };
    app_.add_option_function<std::string>(flag, callback, absl::StrCat(help, ": ", names))
        ->type_name("NAME")
        ->group(group_);
  }

  CLI::App& app_;
  const char* group_;
  SamplerOverrides& overrides_;
};

constexpr char kSamplerGroup[] = "Sampler";
constexpr std::string_view kSamplerOption = "sampler";

// Those that `wanted` says yes to.
template <class Wanted>
void AddFlags(CLI::App& app, const char* group, SamplerOverrides& overrides, Wanted wanted) {
  Declarer declarer(app, group, overrides);
  ForEachOption([&](const auto& option) {
    if (wanted(option.name, option.source)) declarer.Declare(option);
  });
}

}  // namespace

void AddSamplerFlags(CLI::App& app, SamplerOverrides& overrides) {
  AddFlags(app, kSamplerGroup, overrides,
           [](std::string_view, OptionSource source) { return source == OptionSource::kRequest; });
}

void AddSamplerFlags(CLI::App& app, std::vector<NamedSampler>& samplers,
                     SamplerOverrides& overrides) {
  const auto parse = [&samplers](const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      const std::optional<NamedSampler> named = ParseSampler(name);
      if (!named.has_value()) throw UnknownName(FlagName(kSamplerOption), SamplerNameList(), name);
      samplers.push_back(*named);
    }
  };
  app.add_option_function<std::vector<std::string>>(
         FlagName(kSamplerOption), parse,
         absl::StrCat("The algorithm, or several to compare: ", SamplerNameList()))
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("NAME,NAME")
      ->group(kSamplerGroup);
  AddFlags(app, kSamplerGroup, overrides, [](std::string_view name, OptionSource source) {
    return source == OptionSource::kRequest && name != kSamplerOption;
  });
}

void AddCheckpointFlags(CLI::App& app, SamplerOverrides& overrides) {
  AddFlags(app, kCheckpointGroup, overrides, [](std::string_view, OptionSource source) {
    return source == OptionSource::kCheckpoint;
  });
}

std::string SamplerFlagName(const denoised::v1::SamplerOptions& options) {
  if (options.sampler() == denoised::v1::SAMPLER_UNSPECIFIED) return "default";
  FieldViolations unknown;
  const SamplerOverrides overrides = SamplerFromProto(options, unknown);
  if (!overrides.sampler.has_value()) return "unknown";
  return std::string(FullSamplerName({*overrides.sampler, overrides.solver_order}));
}

}  // namespace denoise
