#include "client/cli/commands/error_report.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "client/cli/display/text.h"
#include "client/cli/flags/field_words.h"
#include "client/cli/flags/lost_connection.h"
#include "client/connection_problem.h"
#include "client/status_from_grpc.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/retry.h"

namespace denoise {
namespace {

// Some messages name the command or the flag of the server that helps.
bool SaysWhatToDo(absl::string_view message) {
  return absl::StrContains(message, "`denoise ") || absl::StrContains(message, "--manage-models") ||
         absl::StrContains(message, "--model-memory");
}

// What to do about what ExplainLostConnection found; empty for every other reason.
std::string AdviceAboutConnection(const std::string& reason) {
  const std::pair<const char*, const char*> advice[] = {
      {kTlsExpected,
       "Add --tls-ca FILE, with the certificate of the authority that issued the server's, or "
       "--tls\n"
       "  if this system trusts that authority."},
      {kTlsNotExpected,
       "If the server is meant to be without TLS, leave out --tls, --tls-ca and --tls-cert. If "
       "not, "
       "ask\n"
       "  its operator, and check for a proxy on the way."},
      {kNotGrpc,
       "Give --server the address of `denoised --listen`, 127.0.0.1:50051 by default, not that of\n"
       "  --http."},
      {kTlsUnknownAuthority,
       "Give the certificate of the authority that issued it with --tls-ca FILE; one that was not\n"
       "  issued by an authority is its own."},
      {kTlsOtherHost,
       "Call the server by one of these names with --server, or give it a certificate with the "
       "name\n"
       "  that you use."},
      {kTlsExpired,
       "Give the server a new one; it reads the file of --tls-cert again without a restart. If it "
       "is\n"
       "  new, check the clock of this machine."},
      {kTlsNotYetValid, "Check the clocks of this machine and of the one that issued it."},
      {kTlsCertificateInvalid, "The operator of the server has to replace it."},
      {kTlsAuthorityInvalid,
       "The operator of that authority has to renew it. If it is new, check the clock of this "
       "machine."},
      {kTlsClientCertificateMissing,
       "Show one with --tls-cert FILE and --tls-key FILE; an authority in the server's\n"
       "  --tls-client-ca must have issued it."},
      {kTlsClientCertificateRefused,
       "Show one with --tls-cert and --tls-key that an authority in the server's --tls-client-ca "
       "has\n"
       "  issued, and that has not expired."}};
  for (const auto& [of, text] : advice) {
    if (reason == of) return text;
  }
  return "";
}

// The server has read the request and says what is wrong with it, or with itself.
bool IsAnswerOfServer(const absl::Status& status) {
  return status.GetPayload(kRpcStatusUrl).has_value();
}

bool AsksForImages(std::span<const MessageFlag> flags) {
  return std::any_of(flags.begin(), flags.end(),
                     [](const MessageFlag& flag) { return flag.flag == "--allow-fewer-steps"; });
}

std::string Advice(const absl::Status& status, std::span<const MessageFlag> flags) {
  if (SaysWhatToDo(status.message())) return "";
  if (const auto delay = GetRetryDelay(status)) {
    return absl::StrCat("Try again in ", absl::FormatDuration(*delay), ", as the server asks.");
  }
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      if (IsAnswerOfServer(status)) return "";
      if (const std::string advice = AdviceAboutConnection(GetErrorReason(status).value_or(""));
          !advice.empty()) {
        return advice;
      }
      if (absl::StrContains(status.message(), " through the proxy ")) {
        return "If the server should be reached directly, list its host in no_proxy.";
      }
      return "Is denoised running there? Start it with `denoised --models DIR`, or name another\n"
             "  server with --server or DENOISED_SERVER. `denoise health` tells when it is ready.";
    case absl::StatusCode::kDeadlineExceeded:
      return AsksForImages(flags)
                 ? "Allow more time with --deadline, ask for fewer images or steps, or let the "
                   "server choose\n"
                   "  the steps with --allow-fewer-steps."
                 : "Allow more time with --deadline. If it never answers, check that denoised "
                   "listens there.";
    case absl::StatusCode::kNotFound:
      return "`denoise models`, `denoise generations list`, `denoise datasets list` and `denoise "
             "train\n  list` show what exists.";
    case absl::StatusCode::kResourceExhausted:
      return IsAnswerOfServer(status) ? ""
                                      : "The request may be too large for the server. Send smaller "
                                        "pictures, or raise its\n  --max-receive-bytes.";
    case absl::StatusCode::kUnimplemented:
      return "For training and data sets, start it with --state. Otherwise check that it is "
             "denoised and\n"
             "  at least as new as this client.";
    case absl::StatusCode::kInvalidArgument:
      return IsAnswerOfServer(status) ? "" : "`denoise COMMAND --help` explains every flag.";
    default:
      return "";
  }
}

std::string MessageOf(const absl::Status& status, std::span<const MessageFlag> flags) {
  return WithFlagNames(flags, {status.message().data(), status.message().size()});
}

struct FlagViolation {
  std::string field;
  std::string flag;
  std::string description;
};

std::vector<FlagViolation> ViolationsOf(const absl::Status& status,
                                        std::span<const MessageFlag> flags) {
  std::vector<FlagViolation> violations;
  for (const FieldViolation& violation : GetFieldViolations(status)) {
    violations.push_back({violation.field, FlagOfField(flags, violation.field),
                          WithFlagNames(flags, violation.description)});
  }
  return violations;
}

// `status`, with what `original` carries besides its message and `status` does not.
absl::Status WithPayloadsOf(const absl::Status& original, absl::Status status) {
  original.ForEachPayload([&status](absl::string_view url, const absl::Cord& payload) {
    if (!status.GetPayload(url)) status.SetPayload(url, payload);
  });
  return status;
}

std::string JsonLine(const nlohmann::ordered_json& error) {
  const nlohmann::ordered_json line = {{"error", error}};
  // A server may send any bytes; JSON is UTF-8.
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
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
  const std::vector<FlagViolation> violations = ViolationsOf(status, flags);
  std::string text = "denoise: ";
  if (violations.empty()) {
    absl::StrAppend(&text, Printable(MessageOf(status, flags)), "\n");
  } else {
    text += "the request is invalid\n";
    for (const FlagViolation& violation : violations) {
      absl::StrAppend(&text, "  ", Printable(violation.flag), ": ",
                      Printable(violation.description), "\n");
    }
  }
  if (const std::string advice = Advice(status, flags); !advice.empty()) {
    absl::StrAppend(&text, "  ", advice, "\n");
  }
  return text;
}

std::string ErrorJson(const absl::Status& status, std::span<const MessageFlag> flags) {
  nlohmann::ordered_json error;
  error["code"] = absl::StatusCodeToString(status.code());
  const std::vector<FlagViolation> violations = ViolationsOf(status, flags);
  error["message"] = violations.empty()
                         ? MessageOf(status, flags)
                         : absl::StrJoin(violations, "; ", [](std::string* out, const auto& one) {
                             absl::StrAppend(out, one.flag, ": ", one.description);
                           });
  for (const FlagViolation& violation : violations) {
    error["violations"].push_back({{"field", violation.field},
                                   {"flag", violation.flag},
                                   {"description", violation.description}});
  }
  if (const auto delay = GetRetryDelay(status)) {
    error["retry_delay_seconds"] = absl::ToDoubleSeconds(*delay);
  }
  return JsonLine(error);
}

absl::Status AboutName(const absl::Status& status, const TypedName& name) {
  const std::string kind(name.kind), text(name.text), list(name.list);
  if (absl::IsNotFound(status) && absl::StartsWith(status.message(), "no such")) {
    return absl::NotFoundError(
        absl::StrCat("there is no ", kind, " ", text, ". `", list, "` shows what exists."));
  }
  FieldViolations violations;
  for (const FieldViolation& violation : GetFieldViolations(status)) {
    // Not every violation of that field is about the name: a data set may have too few pictures.
    if (violation.field == name.field && violation.description.starts_with("must be \"")) {
      violations.Add(name.field,
                     absl::StrCat("must be a ", kind, " that `", list, "` prints; is ", text));
    } else {
      violations.Add(violation.field, violation.description);
    }
  }
  return violations.empty() ? status : WithPayloadsOf(status, violations.ToStatus());
}

absl::Status AboutNames(absl::Status status, std::initializer_list<TypedName> names) {
  for (const TypedName& name : names) {
    const std::string text(name.text);
    const bool is_named = !text.empty() && absl::StrContains(status.message(), text);
    if (absl::IsNotFound(status) && is_named) return AboutName(status, name);
    if (absl::IsInvalidArgument(status) && !text.empty()) status = AboutName(status, name);
  }
  return status;
}

ExitCode ReportError(const absl::Status& status, bool json, std::span<const MessageFlag> flags) {
  const absl::Status explained = ExplainLostConnection(status);
  std::fputs(ErrorText(explained, flags).c_str(), stderr);
  if (json) std::puts(ErrorJson(explained, flags).c_str());
  return ExitCodeOf(status);
}

ExitCode ReportUsageError(const UsageError& error, const std::string& command, bool json) {
  UsageError shown = error;
  shown.message = Printable(error.message);
  std::fputs(UsageErrorText(shown, command).c_str(), stderr);
  if (json) std::puts(UsageErrorJson(error).c_str());
  return kExitUsage;
}

ExitCode ReportEnd(const absl::Status& status, bool interrupted, bool json,
                   std::span<const MessageFlag> flags) {
  if (!interrupted || !absl::IsCancelled(status)) return ReportError(status, json, flags);
  ReportError(absl::CancelledError("interrupted"), json);
  return kExitInterrupted;
}

}  // namespace denoise
