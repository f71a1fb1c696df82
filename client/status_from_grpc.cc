#include "client/status_from_grpc.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "client/proto_duration.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/retry.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace denoise {
namespace {

template <typename Detail>
std::optional<Detail> FindDetail(const google::rpc::Status& status) {
  Detail detail;
  for (const google::protobuf::Any& any : status.details()) {
    if (any.Is<Detail>() && any.UnpackTo(&detail)) return detail;
  }
  return std::nullopt;
}

void CopyPayloads(const absl::Status& from, absl::Status& to) {
  from.ForEachPayload(
      [&to](absl::string_view url, const absl::Cord& payload) { to.SetPayload(url, payload); });
}

FieldViolations ToFieldViolations(const google::rpc::BadRequest& bad_request) {
  FieldViolations violations;
  for (const auto& violation : bad_request.field_violations()) {
    violations.Add(violation.field(), violation.description());
  }
  return violations;
}

// Without details a status of these codes was made by the gRPC library on this side, whose words
// are not for people.
std::string MessageWithoutDetails(const grpc::Status& status, std::string_view address) {
  const std::string where(address);
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return absl::StrCat("no connection to ", where, " (", status.error_message(), ")");
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      if (status.error_message() != "Deadline Exceeded") return status.error_message();
      return absl::StrCat("the deadline passed before ", where, " had answered in full");
    case grpc::StatusCode::UNIMPLEMENTED:
      if (!status.error_message().empty()) return status.error_message();
      return absl::StrCat("the server at ", where, " does not offer this call");
    default:
      if (!status.error_message().empty()) return status.error_message();
      return absl::StrCat(
          "the server at ", where, " answered ",
          absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code())),
          " without a reason");
  }
}

}  // namespace

absl::Status StatusFromGrpc(const grpc::Status& status, std::string_view address) {
  if (status.ok()) return absl::OkStatus();
  // absl::StatusCode has gRPC's numbers.
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  google::rpc::Status rpc_status;
  if (status.error_details().empty() || !rpc_status.ParseFromString(status.error_details())) {
    return absl::Status(code, MessageWithoutDetails(status, address));
  }

  absl::Status result(code, status.error_message().empty() ? MessageWithoutDetails(status, address)
                                                           : status.error_message());
  if (const auto bad_request = FindDetail<google::rpc::BadRequest>(rpc_status)) {
    const absl::Status violations = ToFieldViolations(*bad_request).ToStatus();
    // The list says all that the server's own message says, in a form made for reading.
    if (!violations.ok()) result = absl::Status(code, violations.message());
    CopyPayloads(violations, result);
  }
  if (const auto retry = FindDetail<google::rpc::RetryInfo>(rpc_status)) {
    CopyPayloads(UnavailableRetryAfter("", ToDuration(retry->retry_delay())), result);
  }
  if (const auto quota = FindDetail<google::rpc::QuotaFailure>(rpc_status);
      quota && quota->violations_size() > 0) {
    CopyPayloads(QuotaExceeded(quota->violations(0).subject(), ""), result);
  }
  if (const auto info = FindDetail<google::rpc::ErrorInfo>(rpc_status)) {
    if (!info->reason().empty()) result = WithErrorReason(std::move(result), info->reason());
    for (const auto& [key, value] : info->metadata()) {
      result = WithErrorMetadata(std::move(result), key, value);
    }
  }
  result.SetPayload(kRpcStatusUrl, absl::Cord(status.error_details()));
  return result;
}

}  // namespace denoise
