#include "client/cli/flags/message_flags.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>

#include <CLI/Error.hpp>
#include <CLI/Option.hpp>
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <stdexcept>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "client/cli/flags/connection_flags.h"
#include "core/base/field_violations.h"
#include "core/base/read_file.h"
#include "core/base/status_macros.h"
#include "core/command_line/flag_values.h"
#include "denoised/v1/image_generation.pb.h"
#include "denoised/v1/sampler.pb.h"

namespace denoise {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// More than servers accept by default; the server has the last word.
constexpr size_t kMaxFileBytes = size_t{64} << 20;
// Longer lists of names are part of the help text, not of the column of flags.
constexpr size_t kMaxNamesColumns = 32;

// A field, and the fields of messages that lead to it. A repeated one among these means: one more
// element for each text.
struct Path {
  std::vector<const FieldDescriptor*> parents;
  const FieldDescriptor* field = nullptr;
};

Path FindField(const Descriptor* descriptor, std::string_view path) {
  Path found;
  for (const absl::string_view name :
       absl::StrSplit(absl::string_view(path.data(), path.size()), '.')) {
    if (found.field != nullptr) {
      found.parents.push_back(found.field);
      descriptor = found.field->message_type();
    }
    found.field = descriptor == nullptr ? nullptr : descriptor->FindFieldByName(std::string(name));
    if (found.field == nullptr)
      throw std::logic_error(absl::StrCat("no field ", std::string(path)));
  }
  return found;
}

Message& MessageAt(Message& message, const Path& path) {
  Message* at = &message;
  for (const FieldDescriptor* parent : path.parents) {
    const Reflection& reflection = *at->GetReflection();
    at = parent->is_repeated() ? reflection.AddMessage(at, parent)
                               : reflection.MutableMessage(at, parent);
  }
  return *at;
}

// Null where the message does not hold one, or holds several.
const Message* FindMessage(const Message& message, const Path& path) {
  const Message* at = &message;
  for (const FieldDescriptor* parent : path.parents) {
    if (parent->is_repeated() || !at->GetReflection()->HasField(*at, parent)) return nullptr;
    at = &at->GetReflection()->GetMessage(*at, parent);
  }
  return at;
}

bool IsSet(const Message& parent, const FieldDescriptor& field) {
  const Reflection& reflection = *parent.GetReflection();
  return field.is_repeated() ? reflection.FieldSize(parent, &field) > 0
                             : reflection.HasField(parent, &field);
}

// Whether each of several texts adds to the field: repeated positional arguments, maps.
bool TakesSeveralTexts(const Path& path) {
  return path.field->is_map() ||
         std::any_of(path.parents.begin(), path.parents.end(),
                     [](const FieldDescriptor* parent) { return parent->is_repeated(); });
}

// "LOG_NORMAL" of TimestepSampling is "TIMESTEP_SAMPLING_LOG_NORMAL" where enumerators carry their
// type's name.
std::string Prefix(const EnumDescriptor& type) {
  std::string prefix;
  for (const char c : type.name()) {
    if (std::isupper(static_cast<unsigned char>(c)) && !prefix.empty()) prefix += '_';
    prefix += absl::ascii_toupper(static_cast<unsigned char>(c));
  }
  return prefix + "_";
}

std::vector<std::string> EnumNames(const EnumDescriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() != 0) names.push_back(EnumFlagName(*type.value(i)));
  }
  return names;
}

// Sets one field, or adds to a repeated one.
class Setter {
 public:
  Setter(std::string flag, Message& message, const FieldDescriptor& field)
      : flag_(std::move(flag)),
        message_(message),
        reflection_(*message.GetReflection()),
        field_(field) {}

  void Set(const std::string& text) {
    if (field_.is_map()) return AddEntry(text);
    switch (field_.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return Put(ParseWholeNumber<int32_t>(flag_, text), &Reflection::SetInt32,
                   &Reflection::AddInt32);
      case FieldDescriptor::CPPTYPE_INT64:
        return Put(ParseWholeNumber<int64_t>(flag_, text), &Reflection::SetInt64,
                   &Reflection::AddInt64);
      case FieldDescriptor::CPPTYPE_UINT64:
        return Put(ParseWholeNumber<uint64_t>(flag_, text), &Reflection::SetUInt64,
                   &Reflection::AddUInt64);
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return Put(ParseDouble(flag_, text), &Reflection::SetDouble, &Reflection::AddDouble);
      case FieldDescriptor::CPPTYPE_BOOL:
        return Put(ParseBool(flag_, text), &Reflection::SetBool, &Reflection::AddBool);
      case FieldDescriptor::CPPTYPE_STRING:
        return Put(text, &Reflection::SetString, &Reflection::AddString);
      case FieldDescriptor::CPPTYPE_ENUM:
        return Put(Enum(text), &Reflection::SetEnum, &Reflection::AddEnum);
      default:
        return SetDuration(text);
    }
  }

 private:
  template <class Value, class SetMethod, class AddMethod>
  void Put(const Value& value, SetMethod set, AddMethod add) {
    if (field_.is_repeated()) {
      (reflection_.*add)(&message_, &field_, value);
    } else {
      (reflection_.*set)(&message_, &field_, value);
    }
  }

  const EnumValueDescriptor* Enum(const std::string& text) const {
    const EnumDescriptor& type = *field_.enum_type();
    for (int i = 0; i < type.value_count(); ++i) {
      if (type.value(i)->number() != 0 && EnumFlagName(*type.value(i)) == text) {
        return type.value(i);
      }
    }
    RefuseValue(flag_, absl::StrCat("one of ", absl::StrJoin(EnumNames(type), ", ")), text);
  }

  void SetDuration(const std::string& text) {
    const absl::StatusOr<absl::Duration> parsed = ParseDeadline(text);
    if (!parsed.ok()) RefuseValue(flag_, "a time such as 90s or 2h30m", text);
    google::protobuf::Duration duration;
    duration.set_seconds(absl::ToInt64Seconds(*parsed));
    duration.set_nanos(static_cast<int32_t>(
        absl::ToInt64Nanoseconds(*parsed - absl::Seconds(duration.seconds()))));
    reflection_.MutableMessage(&message_, &field_)->CopyFrom(duration);
  }

  void AddEntry(const std::string& text) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) RefuseValue(flag_, "KEY=VALUE", text);
    Message& entry = *reflection_.AddMessage(&message_, &field_);
    const Descriptor& type = *field_.message_type();
    entry.GetReflection()->SetString(&entry, type.map_key(), text.substr(0, equals));
    entry.GetReflection()->SetString(&entry, type.map_value(), text.substr(equals + 1));
  }

  const std::string flag_;
  Message& message_;
  const Reflection& reflection_;
  const FieldDescriptor& field_;
};

// The shortest text that reads as the same number.
std::string DoubleText(double value) {
  for (int digits = 6;; ++digits) {
    const std::string text = absl::StrFormat("%.*g", digits, value);
    double same;
    if (digits == 17 || (absl::SimpleAtod(text, &same) && same == value)) return text;
  }
}

// Reads a field as the texts that Setter takes, one for each element of a repeated field.
class Getter {
 public:
  Getter(const Message& message, const FieldDescriptor& field)
      : message_(message), reflection_(*message.GetReflection()), field_(field) {}

  std::vector<std::string> Texts() const {
    if (!field_.is_repeated()) return {Text(0)};
    std::vector<std::string> texts;
    for (int i = 0; i < reflection_.FieldSize(message_, &field_); ++i) texts.push_back(Text(i));
    return texts;
  }

 private:
  template <class GetMethod, class GetRepeatedMethod>
  auto Get(int index, GetMethod get, GetRepeatedMethod get_repeated) const {
    return field_.is_repeated() ? (reflection_.*get_repeated)(message_, &field_, index)
                                : (reflection_.*get)(message_, &field_);
  }

  std::string Text(int index) const {
    if (field_.is_map()) return EntryText(index);
    switch (field_.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return absl::StrCat(Get(index, &Reflection::GetInt32, &Reflection::GetRepeatedInt32));
      case FieldDescriptor::CPPTYPE_INT64:
        return absl::StrCat(Get(index, &Reflection::GetInt64, &Reflection::GetRepeatedInt64));
      case FieldDescriptor::CPPTYPE_UINT64:
        return absl::StrCat(Get(index, &Reflection::GetUInt64, &Reflection::GetRepeatedUInt64));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return DoubleText(Get(index, &Reflection::GetDouble, &Reflection::GetRepeatedDouble));
      case FieldDescriptor::CPPTYPE_BOOL:
        return Get(index, &Reflection::GetBool, &Reflection::GetRepeatedBool) ? "true" : "false";
      case FieldDescriptor::CPPTYPE_STRING:
        return Get(index, &Reflection::GetString, &Reflection::GetRepeatedString);
      case FieldDescriptor::CPPTYPE_ENUM:
        return EnumFlagName(*Get(index, &Reflection::GetEnum, &Reflection::GetRepeatedEnum));
      default:
        return DurationText();
    }
  }

  std::string DurationText() const {
    google::protobuf::Duration duration;
    duration.CopyFrom(reflection_.GetMessage(message_, &field_));
    return absl::FormatDuration(absl::Seconds(duration.seconds()) +
                                absl::Nanoseconds(duration.nanos()));
  }

  std::string EntryText(int index) const {
    const Message& entry = reflection_.GetRepeatedMessage(message_, &field_, index);
    const Descriptor& type = *field_.message_type();
    return absl::StrCat(entry.GetReflection()->GetString(entry, type.map_key()), "=",
                        entry.GetReflection()->GetString(entry, type.map_value()));
  }

  const Message& message_;
  const Reflection& reflection_;
  const FieldDescriptor& field_;
};

std::string TypeName(const FieldDescriptor& field) {
  if (field.is_map()) return "KEY=VALUE";
  const std::string one = [&]() -> std::string {
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return "X";
      case FieldDescriptor::CPPTYPE_STRING:
        return "NAME";
      case FieldDescriptor::CPPTYPE_ENUM: {
        const std::string names = absl::StrJoin(EnumNames(*field.enum_type()), "|");
        return names.size() <= kMaxNamesColumns ? names : "NAME";
      }
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return "TIME";
      default:
        return "N";
    }
  }();
  return field.is_repeated() ? absl::StrCat(one, ",", one, ",...") : one;
}

// The help, with the names of an enumeration that have no place in TypeName.
std::string HelpText(const MessageFlag& flag, const FieldDescriptor& field) {
  if (flag.form.value != nullptr || field.cpp_type() != FieldDescriptor::CPPTYPE_ENUM ||
      !TypeName(field).starts_with("NAME")) {
    return flag.help;
  }
  const size_t end = std::min(flag.help.find(". Default:"), flag.help.size());
  return absl::StrCat(flag.help.substr(0, end), ": ",
                      absl::StrJoin(EnumNames(*field.enum_type()), ", "), flag.help.substr(end));
}

// The last of the names in "-m,--model".
std::string LongName(std::string_view flag) {
  return std::string(flag.substr(flag.rfind(',') + 1));
}

void CheckFile(const std::string& flag, const std::string& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (std::filesystem::exists(status) && !std::filesystem::is_directory(status)) return;
  throw CLI::ValidationError(flag, absl::StrCat("there is no file ", path));
}

// What parsing does with the texts of one flag.
void Apply(const MessageFlag& flag, const Path& path, const std::vector<std::string>& texts,
           Message& message, GivenFlags* given) {
  if (given != nullptr) (*given)[flag.field] = texts;
  const std::string name = LongName(flag.flag);
  for (const std::string& text : texts) {
    if (flag.form.from_file != nullptr) CheckFile(name, text);
  }
  if (flag.form.from_file != nullptr || flag.form.from_model != nullptr) return;  // CompleteMessage
  Message& parent = MessageAt(message, path);
  if (flag.form.parse != nullptr) {
    const std::string expected = flag.form.parse(texts[0], parent);
    if (!expected.empty()) RefuseValue(name, expected, texts[0]);
    return;
  }
  parent.GetReflection()->ClearField(&parent, path.field);
  Setter setter(name, parent, *path.field);
  for (const std::string& text : texts) {
    if (!path.field->is_repeated() || path.field->is_map()) {
      setter.Set(text);
      continue;
    }
    for (const absl::string_view item : absl::StrSplit(text, ',')) setter.Set(std::string(item));
  }
}

void Declare(CLI::App& app, Message& message, const MessageFlag& flag, GivenFlags* given) {
  const Path path = FindField(message.GetDescriptor(), flag.field);
  const auto one = [&message, path, flag, given](const std::string& text) {
    Apply(flag, path, {text}, message, given);
  };
  const bool is_switch = path.field->type() == FieldDescriptor::TYPE_BOOL &&
                         !path.field->is_repeated() && flag.form.value == nullptr;
  if (is_switch) {
    app.add_flag(flag.flag, flag.help)->each(one)->group(flag.group);  // "true" without a value
    return;
  }
  const std::string help = HelpText(flag, *path.field);
  const auto several = [&message, path, flag, given](const std::vector<std::string>& texts) {
    Apply(flag, path, texts, message, given);
  };
  CLI::Option* const option =
      TakesSeveralTexts(path)
          ? app.add_option_function<std::vector<std::string>>(flag.flag, several, help)
          : app.add_option_function<std::string>(flag.flag, one, help);
  option->type_name(flag.form.value != nullptr ? flag.form.value : TypeName(*path.field))
      ->group(flag.group)
      ->required(flag.form.required);
  if (flag.form.preset != nullptr) option->default_str(flag.form.preset);
}

std::vector<const FieldDescriptor*> WholePath(const Message& message, const MessageFlag& flag) {
  Path path = FindField(message.GetDescriptor(), flag.field);
  path.parents.push_back(path.field);
  return std::move(path.parents);
}

// Whether setting one of the two fields would clear the other: their paths part at a oneof.
bool ShareAOneof(const std::vector<const FieldDescriptor*>& a,
                 const std::vector<const FieldDescriptor*>& b) {
  const auto [at_a, at_b] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  if (at_a == a.end() || at_b == b.end()) return false;
  const auto* const oneof = (*at_a)->real_containing_oneof();
  return oneof != nullptr && oneof == (*at_b)->real_containing_oneof();
}

void ExcludeWithinOneofs(CLI::App& app, const Message& message,
                         std::span<const MessageFlag> flags) {
  for (size_t i = 0; i < flags.size(); ++i) {
    const auto path = WholePath(message, flags[i]);
    for (size_t j = 0; j < i; ++j) {
      if (!ShareAOneof(path, WholePath(message, flags[j]))) continue;
      app.get_option(LongName(flags[i].flag))->excludes(app.get_option(LongName(flags[j].flag)));
    }
  }
}

absl::Status SetFromFile(const MessageFlag& flag, const Path& path, const std::string& file,
                         Message& message) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(file, kMaxFileBytes));
  ASSIGN_OR_RETURN(std::string value, flag.form.from_file(bytes));
  Message& parent = MessageAt(message, path);
  parent.GetReflection()->SetString(&parent, path.field, std::move(value));
  return absl::OkStatus();
}

absl::Status Complete(const MessageFlag& flag, const std::vector<std::string>& texts,
                      const denoised::v1::Model& model, Message& message) {
  const Path path = FindField(message.GetDescriptor(), flag.field);
  for (const std::string& text : texts) {
    if (flag.form.from_file != nullptr) RETURN_IF_ERROR(SetFromFile(flag, path, text, message));
    if (flag.form.from_model != nullptr) {
      RETURN_IF_ERROR(flag.form.from_model(text, model, MessageAt(message, path)));
    }
  }
  return absl::OkStatus();
}

void SetPreset(const MessageFlag& flag, Message& message) {
  const Path path = FindField(message.GetDescriptor(), flag.field);
  const Message* const parent = FindMessage(message, path);
  if (parent == nullptr || IsSet(*parent, *path.field)) return;
  Setter(LongName(flag.flag), MessageAt(message, path), *path.field).Set(flag.form.preset);
}

// Samplers and their options go by the names that checkpoints and papers use.
bool KeepsUnderscores(const EnumDescriptor& type) {
  return type.file() == denoised::v1::SamplerOptions::descriptor()->file() ||
         &type == denoised::v1::FrameKind_descriptor();
}

// Whether Setter and Getter know the field's type: bytes and messages other than durations and maps
// need a row that says how to set them.
bool HasText(const FieldDescriptor& field) {
  if (field.is_map()) return true;
  return field.type() != FieldDescriptor::TYPE_BYTES &&
         (field.message_type() == nullptr ||
          field.message_type() == google::protobuf::Duration::descriptor());
}

std::string Quoted(const std::string& word) {
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::StrContains("-_./=,:+@%", absl::string_view(&c, 1));
  });
  return plain ? word : absl::StrCat("'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
}

}  // namespace

FlagTable Join(std::initializer_list<FlagTable> tables) {
  FlagTable joined;
  for (const FlagTable& table : tables) joined.insert(joined.end(), table.begin(), table.end());
  return joined;
}

void AddMessageFlags(CLI::App& app, Message& message, std::span<const MessageFlag> flags,
                     GivenFlags* given) {
  for (const MessageFlag& flag : flags) Declare(app, message, flag, given);
  ExcludeWithinOneofs(app, message, flags);
}

absl::Status CompleteMessage(std::span<const MessageFlag> flags, const GivenFlags& given,
                             const denoised::v1::Model& model, Message& message) {
  FieldViolations violations;
  for (const MessageFlag& flag : flags) {
    const auto texts = given.find(flag.field);
    if (texts == given.end()) continue;
    violations.AddAll(flag.field, Complete(flag, texts->second, model, message));
  }
  for (const MessageFlag& flag : flags) {
    if (flag.form.preset != nullptr && !given.contains(flag.field)) SetPreset(flag, message);
  }
  return violations.ToStatus();
}

std::vector<std::string> ArgumentsOf(std::span<const MessageFlag> flags, const Message& message,
                                     const GivenFlags& given) {
  std::vector<std::string> arguments;
  for (const MessageFlag& flag : flags) {
    const Path path = FindField(message.GetDescriptor(), flag.field);
    const auto text = given.find(flag.field);
    std::vector<std::string> values;
    if ((flag.form.from_file != nullptr || flag.form.from_model != nullptr) &&
        text != given.end()) {
      values = text->second;
    } else if (const Message* parent = FindMessage(message, path);
               parent != nullptr && IsSet(*parent, *path.field) && HasText(*path.field)) {
      values = Getter(*parent, *path.field).Texts();
      if (!TakesSeveralTexts(path)) values = {absl::StrJoin(values, ",")};
    }
    const std::string name = LongName(flag.flag);
    for (const std::string& value : values) {
      if (flag.form.preset != nullptr && value == flag.form.preset) continue;  // implied
      const bool is_switch =
          path.field->type() == FieldDescriptor::TYPE_BOOL && flag.form.value == nullptr;
      if (is_switch) {
        arguments.push_back(value == "true" ? name : absl::StrCat(name, "=", value));
        continue;
      }
      if (name.starts_with("-")) arguments.push_back(name);
      arguments.push_back(value);
    }
  }
  return arguments;
}

std::string CommandLine(const std::string& command, const std::vector<std::string>& arguments) {
  std::string line = command;
  for (const std::string& argument : arguments) absl::StrAppend(&line, " ", Quoted(argument));
  return line;
}

std::string FlagOf(std::span<const MessageFlag> flags, std::string_view field) {
  const auto found = std::find_if(flags.begin(), flags.end(),
                                  [field](const MessageFlag& flag) { return flag.field == field; });
  return found == flags.end() ? "" : LongName(found->flag);
}

std::string EnumFlagName(const EnumValueDescriptor& value) {
  if (value.full_name() == "denoised.v1.ENCODING_RAW_FLOAT32") return "npy";
  const std::string prefix = Prefix(*value.type());
  const std::string name = absl::AsciiStrToLower(absl::StripPrefix(value.name(), prefix));
  return KeepsUnderscores(*value.type()) ? name : absl::StrReplaceAll(name, {{"_", "-"}});
}

}  // namespace denoise
