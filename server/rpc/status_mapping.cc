#include "server/rpc/status_mapping.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/retry.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace denoise {
namespace {

constexpr char kDomain[] = "denoised";
constexpr char kRetryPushbackTrailer[] = "grpc-retry-pushback-ms";

// Percent encoding makes up to three bytes of each; message and details together must fit into 8
// KiB.
constexpr size_t kMaxMessageBytes = 512;
constexpr size_t kMaxDescriptionBytes = 240;

// Cuts at a character's boundary: proto3 strings are UTF-8.
std::string Truncate(std::string_view text, size_t max_bytes) {
  constexpr std::string_view kEllipsis = "...";
  if (text.size() <= max_bytes) return std::string(text);
  size_t end = max_bytes - kEllipsis.size();
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end)).append(kEllipsis);
}

const char* Reason(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return "INVALID_FIELD";
    case absl::StatusCode::kNotFound:
      return "RESOURCE_NOT_FOUND";
    case absl::StatusCode::kUnavailable:
      return "SERVER_BUSY";
    case absl::StatusCode::kDeadlineExceeded:
      return "DEADLINE_EXCEEDED";
    case absl::StatusCode::kCancelled:
      return "CANCELLED";
    case absl::StatusCode::kAlreadyExists:
      return "ALREADY_EXISTS";
    case absl::StatusCode::kFailedPrecondition:
      return "WRONG_STATE";
    case absl::StatusCode::kAborted:
      return "CONFLICT";
    case absl::StatusCode::kResourceExhausted:
      return "QUOTA_EXCEEDED";
    case absl::StatusCode::kDataLoss:
      return "CORRUPT_DATA";
    default:
      return "INTERNAL";
  }
}

void AddErrorInfo(const absl::Status& status, std::string_view request_id,
                  google::rpc::Status& wire) {
  google::rpc::ErrorInfo info;
  info.set_reason(GetErrorReason(status).value_or(Reason(status)));
  info.set_domain(kDomain);
  for (const auto& [key, value] : GetErrorMetadata(status)) (*info.mutable_metadata())[key] = value;
  (*info.mutable_metadata())["request_id"] = std::string(request_id);
  wire.add_details()->PackFrom(info);
}

void AddRetryInfo(absl::Duration delay, google::rpc::Status& wire) {
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(absl::ToInt64Seconds(delay));
  info.mutable_retry_delay()->set_nanos(static_cast<int32_t>(
      absl::ToInt64Nanoseconds(delay - absl::Seconds(absl::ToInt64Seconds(delay)))));
  wire.add_details()->PackFrom(info);
}

void AddResourceInfo(const absl::Status& status, google::rpc::Status& wire) {
  const std::optional<ResourceReference> resource = GetResource(status);
  if (!resource) return;
  google::rpc::ResourceInfo info;
  info.set_resource_type(resource->type);
  info.set_resource_name(Truncate(resource->name, kMaxDescriptionBytes));
  wire.add_details()->PackFrom(info);
}

void AddQuotaFailure(const absl::Status& status, google::rpc::Status& wire) {
  const std::optional<QuotaViolation> violation = GetQuotaViolation(status);
  if (!violation) return;
  google::rpc::QuotaFailure failure;
  failure.add_violations()->set_subject(violation->subject);
  failure.mutable_violations(0)->set_description(
      Truncate(violation->description, kMaxDescriptionBytes));
  wire.add_details()->PackFrom(failure);
}

// As many violations as fit, then one that counts the rest.
void AddBadRequest(const std::vector<FieldViolation>& violations, google::rpc::Status& wire) {
  constexpr size_t kRoomForCount = 128;
  const size_t room = kMaxStatusDetailsBytes - wire.ByteSizeLong() - kRoomForCount;
  google::rpc::BadRequest bad_request;
  size_t listed = 0;
  for (const FieldViolation& violation : violations) {
    auto* entry = bad_request.add_field_violations();
    entry->set_field(Truncate(violation.field, kMaxDescriptionBytes));
    entry->set_description(Truncate(violation.description, kMaxDescriptionBytes));
    if (bad_request.ByteSizeLong() > room) {
      bad_request.mutable_field_violations()->RemoveLast();
      break;
    }
    ++listed;
  }
  if (listed < violations.size()) {
    bad_request.add_field_violations()->set_description(
        absl::StrCat(violations.size() > FieldViolations::kMax ? "at least " : "",
                     violations.size() - listed, " more violations are not listed"));
  }
  wire.add_details()->PackFrom(bad_request);
}

std::string PublicMessage(const absl::Status& status, std::string_view request_id) {
  if (WithholdsMessage(status))
    return std::string("internal error; request id ").append(request_id);
  return Truncate({status.message().data(), status.message().size()}, kMaxMessageBytes);
}

}  // namespace

WireStatus ToWireStatus(const absl::Status& status, std::string_view request_id) {
  if (status.ok()) return {grpc::Status::OK, std::nullopt};
  // A code that the contract does not name would tell of the inside, too.
  const absl::StatusCode code =
      WithholdsMessage(status) ? absl::StatusCode::kInternal : status.code();
  google::rpc::Status wire;
  wire.set_code(static_cast<int>(code));
  wire.set_message(PublicMessage(status, request_id));
  AddErrorInfo(status, request_id, wire);
  AddResourceInfo(status, wire);
  AddQuotaFailure(status, wire);
  const std::optional<absl::Duration> delay = GetRetryDelay(status);
  if (delay) AddRetryInfo(*delay, wire);
  const std::vector<FieldViolation> violations = GetFieldViolations(status);
  if (!violations.empty()) AddBadRequest(violations, wire);

  WireStatus result{{static_cast<grpc::StatusCode>(code), wire.message(), wire.SerializeAsString()},
                    std::nullopt};
  if (delay) result.retry_pushback_ms = absl::StrCat(absl::ToInt64Milliseconds(*delay));
  return result;
}

grpc::Status ToGrpcStatus(const absl::Status& status, std::string_view request_id,
                          grpc::ServerContextBase& context) {
  WireStatus wire = ToWireStatus(status, request_id);
  // Trailers, never headers: a client's retry policy takes headers for the start of an answer, and
  // gives up.
  context.AddTrailingMetadata(kRequestIdTrailer, std::string(request_id));
  if (wire.retry_pushback_ms) {
    context.AddTrailingMetadata(kRetryPushbackTrailer, *wire.retry_pushback_ms);
  }
  return std::move(wire.status);
}

}  // namespace denoise
