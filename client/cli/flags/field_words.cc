#include "client/cli/flags/field_words.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "denoised/v1/datasets.pb.h"
#include "denoised/v1/generations.pb.h"
#include "denoised/v1/image_generation.pb.h"
#include "denoised/v1/training.pb.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;

// The messages that flags fill, and those that commands print.
std::vector<const Descriptor*> Messages() {
  return {v1::GenerateRequest::descriptor(),     v1::DiffuseRequest::descriptor(),
          v1::PlanSamplerRequest::descriptor(),  v1::CreateTrainingJobRequest::descriptor(),
          v1::PublishModelRequest::descriptor(), v1::UploadDatasetRequest::descriptor(),
          v1::TrainingJob::descriptor(),         v1::Dataset::descriptor(),
          v1::Generation::descriptor()};
}

using Names = std::map<std::string, std::string, std::less<>>;

// "X_T" of FRAME_KIND_X_T. Names without an underscore or digit, such as "PNG", are left out: they
// are also words.
std::string WithoutPrefix(const EnumDescriptor& type, const std::string& name) {
  size_t common = name.size();
  for (int i = 0; i < type.value_count(); ++i) {
    const std::string& other = type.value(i)->name();
    const auto [end, ignored] = std::mismatch(name.begin(), name.end(), other.begin(), other.end());
    common = std::min(common, static_cast<size_t>(end - name.begin()));
  }
  if (type.value_count() < 2 || common == name.size()) return "";
  const size_t underscore = name.rfind('_', common);
  if (underscore == std::string::npos || common == 0) return "";
  const std::string rest = name.substr(underscore + 1);
  const bool is_word = std::all_of(rest.begin(), rest.end(),
                                   [](unsigned char c) { return absl::ascii_isalpha(c) != 0; });
  return is_word ? "" : rest;
}

void AddEnum(const EnumDescriptor& type, Names& names) {
  for (int i = 0; i < type.value_count(); ++i) {
    const auto& value = *type.value(i);
    if (value.number() == 0) continue;
    names[value.name()] = EnumFlagName(value);
    const std::string rest = WithoutPrefix(type, value.name());
    if (!rest.empty()) names.emplace(rest, EnumFlagName(value));
  }
}

void AddEnums(const Descriptor& message, std::set<const Descriptor*>& seen, Names& names) {
  if (!seen.insert(&message).second) return;
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    if (field.enum_type() != nullptr) AddEnum(*field.enum_type(), names);
    if (field.message_type() != nullptr) AddEnums(*field.message_type(), seen, names);
  }
}

const Names& EnumeratorNames() {
  static const auto* const names = [] {
    auto* const all = new Names();
    std::set<const Descriptor*> seen;
    for (const Descriptor* message : Messages()) AddEnums(*message, seen, *all);
    return all;
  }();
  return *names;
}

std::string ShownName(const MessageFlag& row) { return row.flag.substr(row.flag.rfind(',') + 1); }

bool EndsWithField(std::string_view path, std::string_view field) {
  if (!path.ends_with(field)) return false;
  return path.size() == field.size() || path[path.size() - field.size() - 1] == '.';
}

// The flag of a field by its path or the end of it, or the first flag of the message that it is.
std::string FlagOfTail(std::span<const MessageFlag> flags, std::string_view field) {
  for (const MessageFlag& row : flags) {
    if (EndsWithField(row.field, field)) return ShownName(row);
  }
  const std::string within = absl::StrCat(std::string(field), ".");
  for (const MessageFlag& row : flags) {
    const size_t at = row.field.find(within);
    if (at == 0 || (at != std::string::npos && row.field[at - 1] == '.')) return ShownName(row);
  }
  return "";
}

// Null unless `path` leads to a oneof of `message`.
const google::protobuf::OneofDescriptor* FindOneof(const Descriptor* message,
                                                   std::string_view path) {
  const std::vector<std::string> names =
      absl::StrSplit(absl::string_view(path.data(), path.size()), '.');
  for (size_t i = 0; i + 1 < names.size() && message != nullptr; ++i) {
    const FieldDescriptor* const field = message->FindFieldByName(names[i]);
    message = field == nullptr ? nullptr : field->message_type();
  }
  return message == nullptr ? nullptr : message->FindOneofByName(names.back());
}

std::string FlagsOfOneof(std::span<const MessageFlag> flags, std::string_view path) {
  const std::string parent(path.substr(0, path.rfind('.') + 1));
  for (const Descriptor* message : Messages()) {
    const auto* const oneof = FindOneof(message, path);
    if (oneof == nullptr) continue;
    std::vector<std::string> names;
    for (int i = 0; i < oneof->field_count(); ++i) {
      const std::string choice = absl::StrCat(parent, oneof->field(i)->name());
      const auto row = std::find_if(flags.begin(), flags.end(), [&](const MessageFlag& flag) {
        return flag.field == choice || flag.field.starts_with(choice + ".");
      });
      if (row != flags.end()) names.push_back(ShownName(*row));
    }
    if (!names.empty()) return absl::StrJoin(names, " or ");
  }
  return "";
}

bool IsNameCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.';
}

// Whether the word at `begin` is part of something else: a path, a flag, a quoted name.
bool IsQuoted(std::string_view text, size_t begin, size_t end) {
  constexpr std::string_view kJoins = "/\"'`-<\\";
  return (begin > 0 && kJoins.find(text[begin - 1]) != std::string_view::npos) ||
         (end < text.size() &&
          std::string_view("/\"'`-").find(text[end]) != std::string_view::npos);
}

std::string Translated(std::span<const MessageFlag> flags, std::string_view before,
                       std::string_view word) {
  const Names& enumerators = EnumeratorNames();
  if (const auto name = enumerators.find(word); name != enumerators.end()) return name->second;
  const bool is_field = word.find_first_of("_.") != std::string_view::npos;
  if (is_field || before.ends_with("together with ") || before.ends_with("beside ")) {
    return FlagOfTail(flags, word);
  }
  return "";
}

}  // namespace

std::string WithFlagNames(std::span<const MessageFlag> flags, std::string_view text) {
  std::string translated;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && IsNameCharacter(text[end])) ++end;
    while (end > at && text[end - 1] == '.') --end;  // of the sentence
    if (end == at) {
      translated += text[at++];
      continue;
    }
    const std::string_view word = text.substr(at, end - at);
    const std::string name =
        IsQuoted(text, at, end) ? "" : Translated(flags, text.substr(0, at), word);
    absl::StrAppend(&translated, name.empty() ? std::string(word) : name);
    at = end;
  }
  return translated;
}

namespace {

// "pictures.data" and "[0]" of "pictures[0].data".
std::pair<std::string, std::string> SplitIndices(std::string_view field) {
  std::pair<std::string, std::string> parts;
  bool in_index = false;
  for (const char c : field) {
    in_index = in_index || c == '[';
    (in_index ? parts.second : parts.first).push_back(c);
    if (c == ']') in_index = false;
  }
  return parts;
}

}  // namespace

std::string FlagOfField(std::span<const MessageFlag> flags, std::string_view field) {
  const auto [path, indices] = SplitIndices(field);
  for (const MessageFlag& row : flags) {
    if (row.field == path) return ShownName(row).append(indices);
  }
  // A flag that sets the whole of it, or one that sets a part.
  const size_t bracket = std::min(field.find('['), field.size());
  const std::string name(field.substr(0, bracket));
  for (const MessageFlag& row : flags) {
    if (row.field == name) return ShownName(row).append(field.substr(bracket));
  }
  for (const MessageFlag& row : flags) {
    if (row.field.starts_with(name + ".")) return ShownName(row).append(field.substr(bracket));
  }
  const std::string choices = FlagsOfOneof(flags, name);
  return choices.empty() ? std::string(field) : choices;
}

}  // namespace denoise
