#include "client/cli/commands/error_report.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cli/display/text.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/retry.h"

namespace denoise {
namespace {

std::string Advice(const absl::Status& status) {
  if (const auto delay = GetRetryDelay(status)) {
    return absl::StrCat("Try again in ", absl::FormatDuration(*delay), ", as the server asks.");
  }
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      return "Is denoised running there? Start it with `denoised --models DIR`, or name another\n"
             "  server with --server or DENOISED_SERVER. `denoise health` tells when it is ready.";
    case absl::StatusCode::kDeadlineExceeded:
      return "Allow more time with --deadline, or ask for fewer images or steps.";
    case absl::StatusCode::kNotFound:
      return "`denoise models`, `denoise generations list`, `denoise datasets list` and `denoise "
             "train\n  list` show what exists.";
    case absl::StatusCode::kResourceExhausted:
      return GetQuotaViolation(status).has_value() ? ""
                                                   : "The request may be too large for the server. "
                                                     "Send smaller pictures, or raise its\n"
                                                     "  --max-receive-bytes.";
    case absl::StatusCode::kUnimplemented:
      return "The server does not know this call. For training and data sets, start it with "
             "--state.\n"
             "  Otherwise check that it is denoised and at least as new as this client.";
    case absl::StatusCode::kInvalidArgument:
      return "`denoise COMMAND --help` explains every flag.";
    default:
      return "";
  }
}

}  // namespace

ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
      return kExitUsage;
    case absl::StatusCode::kUnavailable:
      return kExitUnavailable;
    case absl::StatusCode::kDeadlineExceeded:
      return kExitDeadlineExceeded;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    default:
      return kExitFailed;
  }
}

std::string ErrorText(const absl::Status& status, std::span<const MessageFlag> flags) {
  const std::vector<FieldViolation> violations = GetFieldViolations(status);
  std::string text = "denoise: ";
  if (violations.empty()) {
    absl::StrAppend(&text, Printable({status.message().data(), status.message().size()}), "\n");
  } else {
    text += "the request is invalid\n";
    for (const FieldViolation& violation : violations) {
      absl::StrAppend(&text, "  ", Printable(FlagOfField(flags, violation.field)), ": ",
                      Printable(violation.description), "\n");
    }
  }
  if (const std::string advice = Advice(status); !advice.empty()) {
    absl::StrAppend(&text, "  ", advice, "\n");
  }
  return text;
}

std::string ErrorJson(const absl::Status& status, std::span<const MessageFlag> flags) {
  nlohmann::ordered_json error;
  error["code"] = absl::StatusCodeToString(status.code());
  error["message"] = std::string(status.message());
  for (const FieldViolation& violation : GetFieldViolations(status)) {
    error["violations"].push_back({{"field", violation.field},
                                   {"flag", FlagOfField(flags, violation.field)},
                                   {"description", violation.description}});
  }
  if (const auto delay = GetRetryDelay(status)) {
    error["retry_delay_seconds"] = absl::ToDoubleSeconds(*delay);
  }
  const nlohmann::ordered_json line = {{"error", error}};
  // A server may send any bytes; JSON is UTF-8.
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

ExitCode ReportError(const absl::Status& status, bool json, std::span<const MessageFlag> flags) {
  std::fputs(ErrorText(status, flags).c_str(), stderr);
  if (json) std::puts(ErrorJson(status, flags).c_str());
  return ExitCodeOf(status);
}

ExitCode ReportEnd(const absl::Status& status, bool interrupted, bool json,
                   std::span<const MessageFlag> flags) {
  if (!interrupted || !absl::IsCancelled(status)) return ReportError(status, json, flags);
  ReportError(absl::CancelledError("interrupted"), json);
  return kExitInterrupted;
}

}  // namespace denoise
