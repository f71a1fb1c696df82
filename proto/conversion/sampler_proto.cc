#include "proto/conversion/sampler_proto.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/reflection.h>

#include <string>
#include <type_traits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/sampling/options/option_names.h"
#include "core/sampling/options/option_table.h"

namespace denoise {
namespace {

using ProtoOptions = denoised::v1::SamplerOptions;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Reflection;

const Reflection& Reflect() { return *ProtoOptions::GetReflection(); }

// "SIGMA_SPACING_", from the enumeration's zero.
std::string Prefix(const EnumDescriptor& enumeration) {
  constexpr size_t kZeroLength = std::string_view("UNSPECIFIED").size();
  const std::string& zero = enumeration.FindValueByNumber(0)->name();
  return zero.substr(0, zero.size() - kZeroLength);
}

template <class Enum>
std::optional<Enum> EnumFromNumber(const EnumDescriptor& enumeration, int number) {
  const EnumValueDescriptor* value = enumeration.FindValueByNumber(number);
  if (value == nullptr) return std::nullopt;
  return FromName<Enum>(absl::AsciiStrToLower(value->name().substr(Prefix(enumeration).size())));
}

template <class Enum>
int NumberFromEnum(const EnumDescriptor& enumeration, Enum value) {
  const std::string name = absl::AsciiStrToUpper(std::string(NameOf(value)));
  return enumeration.FindValueByName(Prefix(enumeration) + name)->number();
}

// Sets fields of a message.
class Writer {
 public:
  explicit Writer(ProtoOptions& message) : message_(message) {}

  template <class T>
  void Write(const FieldDescriptor* field, const std::optional<T>& setting) {
    if (setting.has_value()) Set(field, *setting);
  }

  void Write(const FieldDescriptor* field, const std::vector<double>& setting) {
    for (double number : setting) Reflect().AddDouble(&message_, field, number);
  }

  void Write(const FieldDescriptor* field, const std::vector<int>& setting) {
    for (int number : setting) Reflect().AddInt32(&message_, field, number);
  }

 private:
  template <class T>
  void Set(const FieldDescriptor* field, T value) {
    if constexpr (std::is_enum_v<T>) {
      Reflect().SetEnumValue(&message_, field, NumberFromEnum(*field->enum_type(), value));
    } else if constexpr (std::is_same_v<T, bool>) {
      Reflect().SetBool(&message_, field, value);
    } else if constexpr (std::is_same_v<T, int>) {
      Reflect().SetInt32(&message_, field, value);
    } else {
      static_assert(std::is_same_v<T, double>);
      Reflect().SetDouble(&message_, field, value);
    }
  }

  ProtoOptions& message_;
};

// Reads fields of a message.
class Reader {
 public:
  Reader(const ProtoOptions& message, FieldViolations& violations)
      : message_(message), violations_(violations) {}

  template <class T>
  void Read(const FieldDescriptor* field, std::optional<T>& setting) {
    if (Reflect().HasField(message_, field)) setting = Get<T>(field);
  }

  template <class T>
  void Read(const FieldDescriptor* field, std::vector<T>& setting) {
    const auto numbers = Reflect().GetRepeatedFieldRef<T>(message_, field);
    setting.assign(numbers.begin(), numbers.end());
  }

 private:
  template <class T>
  std::optional<T> Get(const FieldDescriptor* field) {
    if constexpr (std::is_enum_v<T>) {
      return GetEnum<T>(field);
    } else if constexpr (std::is_same_v<T, bool>) {
      return Reflect().GetBool(message_, field);
    } else if constexpr (std::is_same_v<T, int>) {
      return Reflect().GetInt32(message_, field);
    } else {
      static_assert(std::is_same_v<T, double>);
      return Reflect().GetDouble(message_, field);
    }
  }

  template <class Enum>
  std::optional<Enum> GetEnum(const FieldDescriptor* field) {
    const int number = Reflect().GetEnumValue(message_, field);
    const std::optional<Enum> value = EnumFromNumber<Enum>(*field->enum_type(), number);
    if (!value.has_value()) {
      violations_.Add(field->name(), absl::StrCat("unknown value ", number));
    }
    return value;
  }

  const ProtoOptions& message_;
  FieldViolations& violations_;
};

// Calls `visit` with each option that the message has, and its field.
template <class Visit>
void ForEachField(Visit visit) {
  ForEachOption([&](const auto& option) {
    if (option.source == OptionSource::kCheckpoint) return;
    visit(option, ProtoOptions::descriptor()->FindFieldByName(std::string(option.name)));
  });
}

// The defaults of the sampler that a request asks for.
SamplerOptions DefaultsFor(std::optional<SamplerKind> sampler, const SchedulerConfig& scheduler,
                           const SamplerOptions& defaults) {
  if (!sampler || *sampler == defaults.sampler) return defaults;
  SamplerOptions options = SwitchSampler(scheduler, *sampler);
  options.steps = defaults.steps;
  return options;
}

}  // namespace

ProtoOptions SamplerToProto(const SamplerOverrides& overrides) {
  ProtoOptions message;
  Writer writer(message);
  ForEachField([&](const auto& option, const FieldDescriptor* field) {
    writer.Write(field, overrides.*option.in_overrides);
  });
  return message;
}

SamplerOverrides SamplerFromProto(const ProtoOptions& message, FieldViolations& violations) {
  SamplerOverrides overrides;
  Reader reader(message, violations);
  ForEachField([&](const auto& option, const FieldDescriptor* field) {
    reader.Read(field, overrides.*option.in_overrides);
  });
  return overrides;
}

ResolvedSampler ResolveSampler(const denoised::v1::SamplerOptions& request,
                               const SchedulerConfig& scheduler, const SamplerOptions& defaults,
                               int max_steps) {
  FieldViolations violations;
  const SamplerOverrides overrides = SamplerFromProto(request, violations);
  ResolvedSampler resolved =
      ApplyOverrides(DefaultsFor(overrides.sampler, scheduler, defaults), overrides, max_steps);
  violations.AddAll("", resolved.violations);
  resolved.violations = violations.ToStatus();
  return resolved;
}

}  // namespace denoise
