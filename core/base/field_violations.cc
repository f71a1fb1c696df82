#include "core/base/field_violations.h"

#include <optional>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

// The payload is a flat list "field\0description\0..."; neither part can contain a zero byte.
constexpr char kPayloadUrl[] = "denoise/field-violations";
constexpr char kSeparator = '\0';

void AppendPart(std::string_view part, std::string& payload) {
  for (char c : part) payload.push_back(c == kSeparator ? '?' : c);
  payload.push_back(kSeparator);
}

std::string TakePart(std::string_view& payload) {
  const size_t end = payload.find(kSeparator);
  std::string part(payload.substr(0, end));
  payload.remove_prefix(end == std::string_view::npos ? payload.size() : end + 1);
  return part;
}

}  // namespace

void FieldViolations::Add(std::string_view field, std::string_view description) {
  if (violations_.size() < kMax) {
    violations_.push_back({std::string(field), std::string(description)});
  } else if (violations_.size() == kMax) {
    violations_.push_back({"", "there are more violations, which are not listed"});
  }
}

void FieldViolations::CheckRange(std::string_view field, int64_t value, int64_t min, int64_t max) {
  if (value >= min && value <= max) return;
  Add(field, absl::StrCat("must be between ", min, " and ", max, ", is ", value));
}

void FieldViolations::CheckAtLeast(std::string_view field, int64_t value, int64_t min) {
  if (value < min) Add(field, absl::StrCat("must be at least ", min, ", is ", value));
}

void FieldViolations::AddAll(std::string_view prefix, const absl::Status& status) {
  if (status.ok()) return;
  std::vector<FieldViolation> inner = GetFieldViolations(status);
  if (inner.empty()) {
    if (!prefix.empty() && prefix.back() == '.') prefix.remove_suffix(1);
    Add(prefix, std::string(status.message()));
    return;
  }
  for (FieldViolation& violation : inner) {
    violation.field.insert(0, prefix);
    Add(violation.field, violation.description);
  }
}

absl::Status FieldViolations::ToStatus() const {
  if (violations_.empty()) return absl::OkStatus();
  std::string message, payload;
  for (const FieldViolation& violation : violations_) {
    if (!message.empty()) message += "; ";
    message += violation.field + ": " + violation.description;
    AppendPart(violation.field, payload);
    AppendPart(violation.description, payload);
  }
  absl::Status status = absl::InvalidArgumentError(message);
  status.SetPayload(kPayloadUrl, absl::Cord(payload));
  return status;
}

absl::Status InvalidField(std::string_view field, std::string_view description) {
  FieldViolations violations;
  violations.Add(field, description);
  return violations.ToStatus();
}

std::vector<FieldViolation> GetFieldViolations(const absl::Status& status) {
  std::vector<FieldViolation> violations;
  const auto payload = status.GetPayload(kPayloadUrl);
  if (!payload.has_value()) return violations;
  const std::string bytes(*payload);
  for (std::string_view rest = bytes; !rest.empty();) {
    std::string field = TakePart(rest);
    violations.push_back({std::move(field), TakePart(rest)});
  }
  return violations;
}

}  // namespace denoise
