#include "server/checkpoints/report_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/field_violations.h"

namespace denoise {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxTensorsShown = 20;

// What precedes the violations in the message of `status`: the file that they are in.
std::string MessageStart(const absl::Status& status, const std::vector<FieldViolation>& all) {
  const std::string message(status.message());
  const size_t at = message.find(all.front().field + ": " + all.front().description);
  return at == std::string::npos ? "" : message.substr(0, at);
}

// The error, a line for each violation.
std::string ErrorLines(const absl::Status& status) {
  const std::vector<FieldViolation> violations = GetFieldViolations(status);
  if (violations.empty()) return absl::StrCat("  ", status.message(), "\n");
  std::string lines;
  const std::string start = MessageStart(status, violations);
  for (const FieldViolation& violation : violations) {
    absl::StrAppend(&lines, "  ", start, violation.field, ": ", violation.description, "\n");
  }
  return lines;
}

std::string PartLines(const std::vector<PartReport>& parts) {
  size_t name = 0, class_name = 0;
  for (const PartReport& part : parts) {
    name = std::max(name, part.part.name.size());
    class_name = std::max(class_name, part.part.class_name.size());
  }
  std::string lines;
  for (const PartReport& part : parts) {
    absl::StrAppendFormat(
        &lines, "  %-*s  %-*s  %14s parameters%s\n", static_cast<int>(name), part.part.name,
        static_cast<int>(class_name), part.part.class_name, NumberText(part.part.num_parameters),
        part.dtypes.empty() ? "" : absl::StrCat(", stored as ", absl::StrJoin(part.dtypes, ", ")));
  }
  return lines;
}

std::string IgnoredTensorsText(const std::map<std::string, int64_t>& ignored) {
  std::vector<std::string> names;
  for (const auto& [name, count] : ignored) {
    if (names.size() == kMaxTensorsShown) {
      names.push_back(absl::StrCat("and ", ignored.size() - kMaxTensorsShown, " more"));
      break;
    }
    names.push_back(count == 1 ? name : absl::StrCat(name, " (", count, ")"));
  }
  return absl::StrJoin(names, ", ");
}

void AppendIgnored(const std::string& what, const std::string& text, std::string& lines) {
  if (!text.empty()) absl::StrAppend(&lines, "  Ignored ", what, ": ", text, "\n");
}

std::string Verdict(const CheckpointReport& report) {
  if (!report.status.ok()) return report.is_file ? "cannot be converted" : "does not load";
  return report.is_file ? "can be converted with `denoise convert`" : "loads";
}

std::string MemoryText(const CheckpointReport& report) {
  const std::string bfloat16 = SizeText(report.MemoryBytes(at::kBFloat16));
  const std::string half = SizeText(report.MemoryBytes(at::kHalf));
  const std::string in_half = half == bfloat16
                                  ? " in bfloat16 or float16"
                                  : absl::StrCat(" in bfloat16, ", half, " in float16");
  return absl::StrCat("The weights take ", SizeText(report.MemoryBytes(at::kFloat)),
                      " of memory in float32, ", bfloat16, in_half);
}

Json PartJson(const PartReport& part) {
  return {{"name", part.part.name},
          {"class", part.part.class_name},
          {"parameters", part.part.num_parameters},
          {"dtypes", part.dtypes}};
}

Json ErrorJson(const absl::Status& status) {
  Json violations = Json::array();
  for (const FieldViolation& violation : GetFieldViolations(status)) {
    violations.push_back({{"field", violation.field}, {"description", violation.description}});
  }
  return {{"code", absl::StatusCodeToString(status.code())},
          {"message", std::string(status.message())},
          {"violations", std::move(violations)}};
}

Json ReportJson(const CheckpointReport& report) {
  Json json = {{"name", report.name},
               {"kind", report.is_file ? "file" : "folder"},
               {"loads", report.status.ok()},
               {"names_only", report.names_only},
               {"family", report.family},
               {"parts", Json::array()},
               {"parameters", report.num_parameters()},
               {"memory_bytes",
                {{"float32", report.MemoryBytes(at::kFloat)},
                 {"bfloat16", report.MemoryBytes(at::kBFloat16)},
                 {"float16", report.MemoryBytes(at::kHalf)}}},
               {"ignored_keys", report.ignored_keys},
               {"ignored_parts", report.ignored_parts},
               {"ignored_tensors", report.ignored_tensors}};
  for (const PartReport& part : report.parts) json["parts"].push_back(PartJson(part));
  if (!report.status.ok()) json["error"] = ErrorJson(report.status);
  return json;
}

}  // namespace

std::string SizeText(int64_t bytes) {
  const auto mib = static_cast<double>(bytes) / (1 << 20);
  return mib >= 1024 ? absl::StrFormat("%.2f GiB", mib / 1024) : absl::StrFormat("%.1f MiB", mib);
}

std::string NumberText(int64_t number) {
  const std::string digits = std::to_string(number);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string ReportText(const CheckpointReport& report) {
  std::string text = absl::StrCat(report.name, ": ", Verdict(report), "\n");
  if (!report.family.empty()) absl::StrAppend(&text, "  ", report.family, "\n");
  absl::StrAppend(&text, PartLines(report.parts));
  if (report.num_parameters() > 0) absl::StrAppend(&text, "  ", MemoryText(report), "\n");
  AppendIgnored("keys", absl::StrJoin(report.ignored_keys, "; "), text);
  AppendIgnored("parts", absl::StrJoin(report.ignored_parts, ", "), text);
  AppendIgnored("tensors", IgnoredTensorsText(report.ignored_tensors), text);
  if (!report.status.ok()) {
    absl::StrAppend(&text, ErrorLines(report.status));
  } else if (report.names_only) {
    absl::StrAppend(&text,
                    "  Only the names of the tensors were checked; --configs DIR also loads "
                    "them\n");
  }
  return text;
}

std::string ReportsJson(const std::vector<CheckpointReport>& reports) {
  Json json = {{"checkpoints", Json::array()}};
  for (const CheckpointReport& report : reports) json["checkpoints"].push_back(ReportJson(report));
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace denoise
