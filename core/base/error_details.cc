#include "core/base/error_details.h"

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace denoise {
namespace {

constexpr char kResourceTypeUrl[] = "denoise/resource-type";
constexpr char kResourceNameUrl[] = "denoise/resource-name";
constexpr char kQuotaSubjectUrl[] = "denoise/quota-subject";
constexpr char kReasonUrl[] = "denoise/reason";
constexpr char kMetadataUrlPrefix[] = "denoise/metadata/";

absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

void Set(absl::Status& status, absl::string_view url, std::string_view value) {
  status.SetPayload(url, absl::Cord(ToAbsl(value)));
}

std::optional<std::string> Get(const absl::Status& status, absl::string_view url) {
  const auto payload = status.GetPayload(url);
  if (!payload.has_value()) return std::nullopt;
  return std::string(*payload);
}

}  // namespace

absl::Status ResourceNotFound(std::string_view type, std::string_view name) {
  return ResourceNotFound(type, name,
                          std::string("no such ").append(type).append(": ").append(name));
}

absl::Status ResourceNotFound(std::string_view type, std::string_view name,
                              std::string_view message) {
  absl::Status status = absl::NotFoundError(ToAbsl(message));
  Set(status, kResourceTypeUrl, type);
  Set(status, kResourceNameUrl, name);
  return status;
}

std::optional<ResourceReference> GetResource(const absl::Status& status) {
  auto type = Get(status, kResourceTypeUrl);
  auto name = Get(status, kResourceNameUrl);
  if (!type || !name) return std::nullopt;
  return ResourceReference{*std::move(type), *std::move(name)};
}

absl::Status QuotaExceeded(std::string_view subject, std::string_view description) {
  absl::Status status = absl::ResourceExhaustedError(ToAbsl(description));
  Set(status, kQuotaSubjectUrl, subject);
  return status;
}

std::optional<QuotaViolation> GetQuotaViolation(const absl::Status& status) {
  auto subject = Get(status, kQuotaSubjectUrl);
  if (!subject) return std::nullopt;
  return QuotaViolation{*std::move(subject), std::string(status.message())};
}

absl::Status WithErrorReason(absl::Status status, std::string_view reason) {
  Set(status, kReasonUrl, reason);
  return status;
}

std::optional<std::string> GetErrorReason(const absl::Status& status) {
  return Get(status, kReasonUrl);
}

absl::Status WithErrorMetadata(absl::Status status, std::string_view key, std::string_view value) {
  Set(status, absl::StrCat(kMetadataUrlPrefix, ToAbsl(key)), value);
  return status;
}

std::map<std::string, std::string> GetErrorMetadata(const absl::Status& status) {
  std::map<std::string, std::string> metadata;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    const std::string key(url);
    if (!key.starts_with(kMetadataUrlPrefix)) return;
    metadata[key.substr(sizeof(kMetadataUrlPrefix) - 1)] = std::string(payload);
  });
  return metadata;
}

bool WithholdsMessage(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
      return false;
    default:  // a reason is for callers
      return !GetErrorReason(status).has_value();
  }
}

}  // namespace denoise
