#include "client/cli/error_report.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cli/display/printable.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/retry.h"

namespace denoise {
namespace {

constexpr std::string_view kSamplerPrefix = "sampler.";

// Fields whose flag is not simply their name with dashes.
const std::map<std::string, std::string, std::less<>>& RenamedFields() {
  static const auto* const names = new std::map<std::string, std::string, std::less<>>{
      {"sampler.sampler", "--sampler"},
      {"guidance.scale", "--guidance-scale"},
      {"guidance.timestep_min", "--guidance-min"},
      {"guidance.timestep_max", "--guidance-max"},
      {"guidance.sigma_min", "--guidance-sigma-min"},
      {"guidance.sigma_max", "--guidance-sigma-max"},
      {"guidance.rescale", "--guidance-rescale"},
      {"guidance", "--guidance-scale"},
      {"frames.every_n_steps", "--frames"},
      {"frames.kinds", "--frame-kind"},
      {"frames.encoding", "--frame-encoding"},
      {"frames.max_bytes", "--frame-max-bytes"},
      {"image_encoding", "--format"},
      {"encoding", "--format"},
      {"name", "--model"},
      {"start.image.picture", "--init"},
      {"start.image.picture.data", "--init"},
      {"start.image.strength", "--strength"},
      {"start.frame.sample", "--branch"},
      {"start.frame.step", "--branch-step"},
      {"start.noise.from", "--from-seed"},
      {"start.noise.from.seed", "--from-seed"},
      {"start.noise.from.sample", "--noise"},
      {"start.noise.to", "--to-seed"},
      {"start.noise.to.seed", "--to-seed"},
      {"start.noise.to.sample", "--noise-to"},
      {"start.noise.variation", "--variation"},
      {"start.inversion.picture", "--invert"},
      {"start.inversion.picture.data", "--invert"},
      {"inpainting", "--inpaint"},
      {"inpainting.picture", "--inpaint"},
      {"inpainting.picture.data", "--inpaint"},
      {"inpainting.mask.data", "--mask"},
      {"inpainting.jump_length", "--repaint-jump"},
      {"inpainting.resamples", "--repaint-times"},
  };
  return *names;
}

bool IsFlagOnItsOwn(std::string_view field) {
  return field == "model" || field == "class_label" || field == "class_weights" ||
         field == "count" || field == "seed" || field == "sampler" || field == "frames" ||
         field == "scheduler_config" || field == "steps" || field == "timesteps" ||
         field == "mode" || field == "strength";
}

std::string Dashed(std::string_view field) {
  std::string flag = "--" + std::string(field);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

std::string Advice(const absl::Status& status) {
  if (const auto delay = GetRetryDelay(status)) {
    return absl::StrCat("The server asks to wait ", absl::FormatDuration(*delay),
                        " before another attempt.");
  }
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      return "Is denoised running there? Start it with `denoised --models DIR`, or name another "
             "server with\n  --server or DENOISED_SERVER. `denoise health` tells when it is ready.";
    case absl::StatusCode::kDeadlineExceeded:
      return "Allow more time with --deadline, or ask for fewer images or steps.";
    case absl::StatusCode::kNotFound:
      return "`denoise models`, `denoise datasets list` and `denoise train list` tell what there "
             "is.";
    case absl::StatusCode::kResourceExhausted:
      return GetQuotaViolation(status).has_value()
                 ? ""
                 : "A message may be too large for the server: send smaller pictures, or raise its "
                   "--max-receive-bytes.";
    case absl::StatusCode::kUnimplemented:
      return "The server does not know this call. Training and data sets need one that was started "
             "with --state;\n  else, is it denoised, and as new as this client?";
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

std::string FlagOfField(std::string_view field) {
  const size_t bracket = std::min(field.find('['), field.size());
  const std::string_view name = field.substr(0, bracket);
  const std::string index(field.substr(bracket));
  if (const auto renamed = RenamedFields().find(name); renamed != RenamedFields().end()) {
    return renamed->second + index;
  }
  if (name.substr(0, kSamplerPrefix.size()) == kSamplerPrefix) {
    return Dashed(name.substr(kSamplerPrefix.size())) + index;
  }
  return IsFlagOnItsOwn(name) ? Dashed(name) + index : std::string(field);
}

std::string ErrorText(const absl::Status& status, FlagNamer flag_of) {
  const std::vector<FieldViolation> violations = GetFieldViolations(status);
  std::string text = "denoise: ";
  if (violations.empty()) {
    absl::StrAppend(&text, Printable({status.message().data(), status.message().size()}), "\n");
  } else {
    text += "the request cannot be served as it is\n";
    for (const FieldViolation& violation : violations) {
      absl::StrAppend(&text, "  ", Printable(flag_of(violation.field)), ": ",
                      Printable(violation.description), "\n");
    }
  }
  if (const std::string advice = Advice(status); !advice.empty()) {
    absl::StrAppend(&text, "  ", advice, "\n");
  }
  return text;
}

std::string ErrorJson(const absl::Status& status, FlagNamer flag_of) {
  nlohmann::ordered_json error;
  error["code"] = absl::StatusCodeToString(status.code());
  error["message"] = std::string(status.message());
  for (const FieldViolation& violation : GetFieldViolations(status)) {
    error["violations"].push_back({{"field", violation.field},
                                   {"flag", flag_of(violation.field)},
                                   {"description", violation.description}});
  }
  if (const auto delay = GetRetryDelay(status)) {
    error["retry_delay_seconds"] = absl::ToDoubleSeconds(*delay);
  }
  const nlohmann::ordered_json line = {{"error", error}};
  // What a server says may be any bytes; JSON is UTF-8.
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

ExitCode ReportError(const absl::Status& status, bool json, FlagNamer flag_of) {
  std::fputs(ErrorText(status, flag_of).c_str(), stderr);
  if (json) std::puts(ErrorJson(status, flag_of).c_str());
  return ExitCodeOf(status);
}

ExitCode ReportEnd(const absl::Status& status, bool interrupted, bool json) {
  if (!interrupted || !absl::IsCancelled(status)) return ReportError(status, json);
  ReportError(absl::CancelledError("interrupted"), json);
  return kExitInterrupted;
}

}  // namespace denoise
