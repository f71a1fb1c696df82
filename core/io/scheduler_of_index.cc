#include "core/io/scheduler_of_index.h"

#include <nlohmann/json.hpp>

#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/io/model_folder.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

constexpr JsonOptions kJsonOptions = {.max_depth = 16, .non_finite_numbers = true};

// Every class can be made with its defaults alone.
absl::Status CheckClass(const std::string& class_name) {
  const absl::Status status =
      ParseSchedulerConfig(Json{{"_class_name", class_name}}.dump()).status();
  if (status.ok()) return status;
  return InvalidField("scheduler", GetFieldViolations(status).front().description);
}

// `json` with that class. An infinity, which files hold only where it is the default, becomes null:
// the default.
absl::StatusOr<std::string> WithClass(const std::string& class_name, std::string_view json) {
  ASSIGN_OR_RETURN(Json object, ParseStrictJsonObject(json, kJsonOptions));
  Json& named = object["_class_name"];
  if (named == class_name) return std::string(json);
  named = class_name;
  return object.dump();
}

}  // namespace

absl::StatusOr<SchedulerConfig> ParseSchedulerOfIndex(const std::string& class_name,
                                                      std::string_view index_file,
                                                      std::string_view json,
                                                      std::string_view config_file) {
  RETURN_IF_ERROR(InFile(index_file, CheckClass(class_name)));
  const absl::StatusOr<std::string> text = WithClass(class_name, json);
  if (!text.ok()) return InFile(config_file, text.status());
  absl::StatusOr<SchedulerConfig> config = ParseSchedulerConfig(*text);
  if (!config.ok()) return InFile(config_file, config.status());
  return config;
}

}  // namespace denoise
