#include "client/cli/flags/message_flags.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>

#include <CLI/Error.hpp>
#include <CLI/Option.hpp>
#include <algorithm>
#include <cctype>
#include <stdexcept>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "client/cli/flags/connection_flags.h"

namespace denoise {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// A field, and the fields of messages that lead to it.
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
    at = at->GetReflection()->MutableMessage(at, parent);
  }
  return *at;
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

[[noreturn]] void Refuse(const std::string& flag, const std::string& expected,
                         const std::string& text) {
  throw CLI::ValidationError(flag, absl::StrCat("must be ", expected, "; is ", text));
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
    switch (field_.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return Put(Number<int32_t>(text, "a whole number"), &Reflection::SetInt32,
                   &Reflection::AddInt32);
      case FieldDescriptor::CPPTYPE_INT64:
        return Put(Number<int64_t>(text, "a whole number"), &Reflection::SetInt64,
                   &Reflection::AddInt64);
      case FieldDescriptor::CPPTYPE_UINT64:
        return Put(Number<uint64_t>(text, "a whole number of at least 0"), &Reflection::SetUInt64,
                   &Reflection::AddUInt64);
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return Put(Double(text), &Reflection::SetDouble, &Reflection::AddDouble);
      case FieldDescriptor::CPPTYPE_BOOL:
        return Put(Bool(text), &Reflection::SetBool, &Reflection::AddBool);
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

  template <class Value>
  Value Number(const std::string& text, const char* expected) const {
    Value value;
    if (!absl::SimpleAtoi(text, &value)) Refuse(flag_, expected, text);
    return value;
  }

  double Double(const std::string& text) const {
    double value;
    if (!absl::SimpleAtod(text, &value)) Refuse(flag_, "a number", text);
    return value;
  }

  bool Bool(const std::string& text) const {
    bool value;
    if (!absl::SimpleAtob(text, &value)) Refuse(flag_, "true or false", text);
    return value;
  }

  const EnumValueDescriptor* Enum(const std::string& text) const {
    const EnumDescriptor& type = *field_.enum_type();
    for (int i = 0; i < type.value_count(); ++i) {
      if (type.value(i)->number() != 0 && EnumFlagName(*type.value(i)) == text) {
        return type.value(i);
      }
    }
    Refuse(flag_, absl::StrCat("one of ", absl::StrJoin(EnumNames(type), ", ")), text);
  }

  void SetDuration(const std::string& text) {
    const absl::StatusOr<absl::Duration> parsed = ParseDeadline(text);
    if (!parsed.ok()) Refuse(flag_, "a time such as 90s or 2h30m", text);
    google::protobuf::Duration duration;
    duration.set_seconds(absl::ToInt64Seconds(*parsed));
    duration.set_nanos(static_cast<int32_t>(
        absl::ToInt64Nanoseconds(*parsed - absl::Seconds(duration.seconds()))));
    reflection_.MutableMessage(&message_, &field_)->CopyFrom(duration);
  }

  const std::string flag_;
  Message& message_;
  const Reflection& reflection_;
  const FieldDescriptor& field_;
};

std::string TypeName(const FieldDescriptor& field) {
  const std::string one = [&]() -> std::string {
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return "X";
      case FieldDescriptor::CPPTYPE_STRING:
        return "NAME";
      case FieldDescriptor::CPPTYPE_ENUM:
        return absl::StrJoin(EnumNames(*field.enum_type()), "|");
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return "TIME";
      default:
        return "N";
    }
  }();
  return field.is_repeated() ? absl::StrCat(one, ",", one, " ...") : one;
}

// The last of the names in "-m,--model".
std::string LongName(std::string_view flag) {
  return std::string(flag.substr(flag.rfind(',') + 1));
}

void Declare(CLI::App& app, Message& message, const MessageFlag& flag) {
  const Path path = FindField(message.GetDescriptor(), flag.field);
  const std::string name = LongName(flag.flag);
  if (path.field->type() == FieldDescriptor::TYPE_BOOL && !path.field->is_repeated()) {
    const auto set = [&message, path, name](const std::string& text) {  // "true" without a value
      Setter(name, MessageAt(message, path), *path.field).Set(text);
    };
    app.add_flag(flag.flag, flag.help)->each(set)->group(flag.group);
    return;
  }
  const auto set = [&message, path, name](const std::string& text) {
    Setter setter(name, MessageAt(message, path), *path.field);
    if (!path.field->is_repeated()) return setter.Set(text);
    for (const absl::string_view item : absl::StrSplit(text, ',')) setter.Set(std::string(item));
  };
  app.add_option_function<std::string>(flag.flag, set, flag.help)
      ->type_name(TypeName(*path.field))
      ->group(flag.group);
}

}  // namespace

void AddMessageFlags(CLI::App& app, Message& message, std::span<const MessageFlag> flags) {
  for (const MessageFlag& flag : flags) Declare(app, message, flag);
}

std::string FlagOf(std::span<const MessageFlag> flags, std::string_view field) {
  const auto found = std::find_if(flags.begin(), flags.end(),
                                  [field](const MessageFlag& flag) { return flag.field == field; });
  return found == flags.end() ? "" : LongName(found->flag);
}

std::string EnumFlagName(const EnumValueDescriptor& value) {
  const std::string prefix = Prefix(*value.type());
  const absl::string_view name = absl::StripPrefix(value.name(), prefix);
  return absl::StrReplaceAll(absl::AsciiStrToLower(name), {{"_", "-"}});
}

}  // namespace denoise
