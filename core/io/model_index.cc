#include "core/io/model_index.h"

#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxNameBytes = 256;
constexpr size_t kMaxViolations = 20;  // enough to fix a file, too few to flood a log

// Names are shown to people, for example in terminals.
bool IsPrintable(std::string_view text) {
  if (text.empty() || text.size() > kMaxNameBytes) return false;
  for (char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  }
  return true;
}

class Reader {
 public:
  explicit Reader(const Json& object) : object_(object) {}

  absl::StatusOr<ModelIndex> Read() {
    ReadName("_class_name", true, index_.pipeline);
    ReadName("_diffusers_version", false, index_.library_version);
    index_.unet_class = ReadComponent("unet", {"UNet2DModel"});
    index_.scheduler_class = ReadComponent("scheduler", {});
    ReadLabels();
    ReadNullClassLabel();
    RefuseOthers();
    RETURN_IF_ERROR(violations_.ToStatus());
    return std::move(index_);
  }

 private:
  const Json& Find(const char* key) const {
    static const Json null;
    const auto found = object_.find(key);
    return found == object_.end() ? null : *found;
  }

  void Violate(std::string_view field, std::string_view description) {
    if (violations_.violations().size() < kMaxViolations) violations_.Add(field, description);
  }

  void ReadName(const char* key, bool required, std::string& name) {
    const Json& value = Find(key);
    if (value.is_null() && !required) return;
    if (!value.is_string() || !IsPrintable(value.get_ref<const std::string&>())) {
      return Violate(key,
                     absl::StrCat("must be a printable string of 1 to ", kMaxNameBytes, " bytes"));
    }
    name = value.get<std::string>();
  }

  // The class of a component, written as [library, class].
  std::string ReadComponent(const char* key, std::optional<std::string> expected) {
    const Json& value = Find(key);
    if (!value.is_array() || value.size() != 2 || !value[0].is_string() || !value[1].is_string()) {
      Violate(key, "must be a pair of strings, library and class");
      return "";
    }
    const std::string name = value[1].get<std::string>();
    if (!IsPrintable(name) || (expected && name != *expected)) {
      Violate(key, absl::StrCat(Quoted(name), " is not supported",
                                expected ? absl::StrCat("; only ", *expected, " is") : ""));
    }
    return name;
  }

  void ReadLabels() {
    const Json& labels = Find("id2label");
    if (labels.is_null()) return;
    if (!labels.is_object()) return Violate("id2label", "must be an object");
    for (const auto& [key, name] : labels.items()) {
      // Only canonical numbers, so that no two keys mean the same label.
      int64_t label = 0;
      if (!absl::SimpleAtoi(key, &label) || label < 0 || absl::StrCat(label) != key) {
        Violate("id2label", absl::StrCat(Quoted(key), " is not a class label"));
      } else if (!name.is_string() || !IsPrintable(name.get_ref<const std::string&>())) {
        Violate(absl::StrCat("id2label.", key),
                absl::StrCat("must be a printable string of 1 to ", kMaxNameBytes, " bytes"));
      } else {
        index_.id2label[label] = name.get<std::string>();
      }
    }
  }

  void ReadNullClassLabel() {
    const Json& label = Find("null_class_label");
    if (label.is_null()) return;
    if (!label.is_number_unsigned() ||
        label.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
      return Violate("null_class_label", "must be a class label");
    }
    index_.null_class_label = label.get<int64_t>();
  }

  static bool IsAbsent(const Json& value) {
    return value.is_null() ||
           (value.is_array() && value.size() == 2 && value[0].is_null() && value[1].is_null());
  }

  void RefuseOthers() {
    for (const auto& [key, value] : object_.items()) {
      const bool known =
          key == "unet" || key == "scheduler" || key == "id2label" || key == "null_class_label";
      if (known || key.starts_with('_') || IsAbsent(value)) continue;
      if (value.is_array()) {
        Violate(Quoted(key), "pipelines with this component are not supported");
      } else if (index_.ignored_keys.size() < kMaxViolations) {
        index_.ignored_keys.push_back(Escaped(key));
      }
    }
  }

  const Json& object_;
  ModelIndex index_;
  FieldViolations violations_;
};

}  // namespace

absl::StatusOr<ModelIndex> ParseModelIndex(std::string_view json) {
  ASSIGN_OR_RETURN(const Json document, ParseStrictJsonObject(json));
  return Reader(document).Read();
}

absl::Status CheckLabels(const ModelIndex& index, int64_t num_class_embeds) {
  const bool any = !index.id2label.empty() || index.null_class_label.has_value();
  if (num_class_embeds == 0 && any) {
    return InvalidField(index.id2label.empty() ? "null_class_label" : "id2label",
                        "the network is not class-conditional");
  }
  const std::string range = absl::StrCat("labels are 0 to ", num_class_embeds - 1);
  FieldViolations violations;
  if (!index.id2label.empty() && index.id2label.rbegin()->first >= num_class_embeds) {
    violations.Add(absl::StrCat("id2label.", index.id2label.rbegin()->first), range);
  }
  if (index.null_class_label && *index.null_class_label >= num_class_embeds) {
    violations.Add("null_class_label", range);
  }
  return violations.ToStatus();
}

}  // namespace denoise
