#include "core/pipeline/pipeline_index.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxNameBytes = 256;

// Names of classes, components and versions are plain, and so can be shown and compared.
bool IsPlainName(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNameBytes &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isprint(static_cast<unsigned char>(c)); });
}

bool IsName(const Json& value) {
  return value.is_string() && IsPlainName(value.get_ref<const std::string&>());
}

void ReadComponent(const std::string& key, const Json& value, PipelineIndex& index,
                   FieldViolations& violations) {
  if (value.size() != 2) {
    return violations.Add(Quoted(key), "must be a pair, library and class");
  }
  if (value[0].is_null() && value[1].is_null()) return;
  if (!IsPlainName(key) || !IsName(value[1])) {
    return violations.Add(Quoted(key), "must name a library and a class");
  }
  index.components[key] = value[1].get<std::string>();
}

}  // namespace

absl::StatusOr<PipelineIndex> ParsePipelineIndex(std::string_view json) {
  ASSIGN_OR_RETURN(const Json document, ParseStrictJsonObject(json));
  PipelineIndex index;
  FieldViolations violations;
  for (const auto& [key, value] : document.items()) {
    if (key == "_class_name" && IsName(value)) {
      index.pipeline = value.get<std::string>();
    } else if (key == "_diffusers_version" && IsName(value)) {
      index.library_version = value.get<std::string>();
    } else if (value.is_array() && !key.starts_with('_')) {
      ReadComponent(key, value, index, violations);
    } else if (value.is_boolean()) {
      index.switches[key] = value.get<bool>();
    }
  }
  if (index.pipeline.empty()) violations.Add("_class_name", "must name the pipeline's class");
  RETURN_IF_ERROR(violations.ToStatus());
  return index;
}

}  // namespace denoise
