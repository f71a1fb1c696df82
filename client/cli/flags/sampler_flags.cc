#include "client/cli/flags/sampler_flags.h"

#include <CLI/Error.hpp>
#include <CLI/Option.hpp>
#include <algorithm>
#include <optional>
#include <string_view>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/command_line/flag_values.h"
#include "core/sampling/options/option_names.h"
#include "core/sampling/options/option_table.h"
#include "proto/conversion/sampler_proto.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr char kSamplerGroup[] = "Sampler";
constexpr char kSamplerFlag[] = "--sampler";
constexpr char kTrueOrFalse[] = "true|false";

std::string FlagName(std::string_view option) {
  std::string flag = absl::StrCat("--", std::string(option));
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

std::string ExpectedSampler() { return absl::StrCat("one of ", SamplerNameList()); }

// A name that brings no order leaves it alone. Flags are parsed in the order of their declaration,
// so that --solver-order, which comes later, has the last word.
std::string ParseSamplerName(const std::string& name, google::protobuf::Message& parent) {
  const std::optional<NamedSampler> named = ParseSampler(name);
  if (!named.has_value()) return ExpectedSampler();
  SamplerOverrides overrides;
  overrides.sampler = named->sampler;
  overrides.solver_order = named->solver_order;
  static_cast<v1::SamplerOptions&>(parent).MergeFrom(SamplerToProto(overrides));
  return "";
}

// Calls `visit` with every option of `source`.
template <class Visit>
void ForEachOptionOf(OptionSource source, Visit visit) {
  ForEachOption([&](const auto& option) {
    if (option.source == source) visit(option);
  });
}

// A row for each option of `source`.
FlagTable Rows(OptionSource source, const std::string& path, const char* group) {
  FlagTable table;
  ForEachOptionOf(source, [&](const auto& option) {
    MessageFlag& row = table.emplace_back(
        MessageFlag{FlagName(option.name), absl::StrCat(path, ".", std::string(option.name)),
                    option.help, group});
    using Value = std::remove_cvref_t<decltype(SamplerOptions().*option.in_options)>;
    if constexpr (std::is_same_v<Value, bool> || std::is_same_v<Value, std::optional<bool>>) {
      row.form.value = kTrueOrFalse;
    }
    if constexpr (std::is_same_v<Value, SamplerKind>) {
      row.help = absl::StrCat(option.help, ": ", SamplerNameList());
      row.form.value = "NAME";
      row.form.parse = ParseSamplerName;
    }
  });
  return table;
}

template <class T>
T ParseCheckpointValue(const std::string& flag, const std::string& text) {
  if constexpr (std::is_enum_v<T>) {
    const std::optional<T> value = FromName<T>(text);
    if (!value.has_value()) RefuseValue(flag, absl::StrCat("one of ", NameList<T>()), text);
    return *value;
  } else if constexpr (std::is_same_v<T, bool>) {
    return ParseBool(flag, text);
  } else if constexpr (std::is_floating_point_v<T>) {
    return ParseDouble(flag, text);
  } else {
    return ParseWholeNumber<T>(flag, text);
  }
}

// Declares a flag for one option of a checkpoint.
template <class T>
void AddCheckpointFlag(CLI::App& app, const std::string& flag, std::string help,
                       std::optional<T>& setting) {
  if constexpr (std::is_enum_v<T>) absl::StrAppend(&help, ": ", NameList<T>());
  app.add_option_function<std::string>(
         flag,
         [flag, &setting](const std::string& text) {
           setting = ParseCheckpointValue<T>(flag, text);
         },
         help)
      ->type_name(std::is_enum_v<T>             ? "NAME"
                  : std::is_same_v<T, bool>     ? kTrueOrFalse
                  : std::is_floating_point_v<T> ? "X"
                                                : "N")
      ->group(kCheckpointGroup);
}

}  // namespace

FlagTable SamplerFlags(const std::string& path) {
  return Rows(OptionSource::kRequest, path, kSamplerGroup);
}

void AddSamplerList(CLI::App& app, std::vector<NamedSampler>& samplers) {
  const auto parse = [&samplers](const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      const std::optional<NamedSampler> named = ParseSampler(name);
      if (!named.has_value()) RefuseValue(kSamplerFlag, ExpectedSampler(), name);
      samplers.push_back(*named);
    }
  };
  app.add_option_function<std::vector<std::string>>(
         kSamplerFlag, parse,
         absl::StrCat("Sampling algorithm, or several to compare: ", SamplerNameList()))
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("NAME,NAME,...")
      ->group(kSamplerGroup);
}

FlagTable CheckpointFlags(const std::string& path) {
  return Rows(OptionSource::kCheckpoint, path, kCheckpointGroup);
}

void AddCheckpointFlags(CLI::App& app, SamplerOverrides& overrides) {
  ForEachOptionOf(OptionSource::kCheckpoint, [&](const auto& option) {
    if constexpr (requires { (overrides.*option.in_overrides).has_value(); }) {
      AddCheckpointFlag(app, FlagName(option.name), option.help, overrides.*option.in_overrides);
    }
  });
}

std::string SamplerFlagName(const v1::SamplerOptions& options) {
  if (options.sampler() == v1::SAMPLER_UNSPECIFIED) return "default";
  FieldViolations unknown;
  const SamplerOverrides overrides = SamplerFromProto(options, unknown);
  if (!overrides.sampler.has_value()) return "unknown";
  return std::string(FullSamplerName({*overrides.sampler, overrides.solver_order}));
}

}  // namespace denoise
