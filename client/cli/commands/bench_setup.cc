#include "client/cli/commands/bench_setup.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/commands/server_program.h"
#include "client/cli/display/bench_text.h"
#include "client/cli/flags/model_lookup.h"
#include "core/base/field_violations.h"
#include "core/base/read_file.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr absl::Duration kDefaultDuration = absl::Seconds(30);
constexpr absl::Duration kProgressInterval = absl::Seconds(10);  // where there is no terminal
constexpr size_t kMostMixBytes = size_t{4} << 20;
constexpr size_t kMostTraceBytes = size_t{256} << 20;

// Errors about the content of a file, as violations of the flag that names it.
absl::Status InFile(const std::string& flag, const std::string& path, const absl::Status& status) {
  FieldViolations violations;
  for (const FieldViolation& violation : GetFieldViolations(status)) {
    violations.Add(flag, absl::StrCat(path, ": ", violation.field, ": ", violation.description));
  }
  if (!violations.empty()) return violations.ToStatus();
  return InvalidField(flag, absl::StrCat(path, ": ", status.message()));
}

TraceLimits LimitsOf(const BenchFlags& flags) {
  TraceLimits limits;
  if (flags.requests) limits.requests = static_cast<size_t>(*flags.requests);
  if (flags.duration) limits.seconds = absl::ToDoubleSeconds(*flags.duration);
  if (!flags.requests && !flags.duration && flags.trace.empty()) {
    limits.seconds = absl::ToDoubleSeconds(kDefaultDuration);
  }
  return limits;
}

absl::StatusOr<Mix> ReadMix(const std::string& path) {
  if (path.empty()) return DefaultMix();
  const absl::StatusOr<std::string> text = ReadFile(path, kMostMixBytes);
  if (!text.ok()) return InvalidField("--mix", std::string(text.status().message()));
  absl::StatusOr<Mix> mix = ParseMix(*text);
  return mix.ok() ? mix : InFile("--mix", path, mix.status());
}

absl::StatusOr<Trace> ReadTrace(const std::string& path, const TraceLimits& limits) {
  const absl::StatusOr<std::string> text = ReadFile(path, kMostTraceBytes);
  if (!text.ok()) return InvalidField("--trace", std::string(text.status().message()));
  absl::StatusOr<Trace> trace = ParseTrace(*text);
  if (trace.ok()) trace = LimitTrace(*std::move(trace), limits);
  return trace.ok() ? trace : InFile("--trace", path, trace.status());
}

std::vector<std::string> ServerFlagsOf(const BenchFlags& flags,
                                       const std::vector<std::string>& more_flags) {
  std::vector<std::string> all = {"--models",    flags.models, "--listen",
                                  "127.0.0.1:0", "--http",     "off"};
  if (!flags.tenant_header.empty()) {
    all.insert(all.end(), {"--tenant-header", flags.tenant_header});
  }
  all.insert(all.end(), more_flags.begin(), more_flags.end());
  all.insert(all.end(), flags.server_flags.begin(), flags.server_flags.end());
  return all;
}

absl::StatusOr<std::unique_ptr<TestedServer>> ConnectOrStart(
    const BenchFlags& flags, const std::vector<std::string>& more_flags,
    Cancellation& cancellation) {
  if (!flags.has_server) {
    return TestedServer::Start(ServerProgram(), ServerFlagsOf(flags, more_flags),
                               flags.tenant_header, cancellation);
  }
  ASSIGN_OR_RETURN(ClientOptions options, MakeClientOptions(flags.connection));
  options.unary_deadline = ClientOptions().unary_deadline;  // --deadline is for the requests
  return std::make_unique<TestedServer>(options, flags.tenant_header, cancellation);
}

// Shows a run's progress, in place or from time to time.
class ProgressLine {
 public:
  void operator()(const RunProgress& progress) {
    const std::string text = BenchProgressText(progress);
    if (isatty(STDERR_FILENO)) {
      std::fprintf(stderr, "\r\x1b[K%s\r", text.c_str());
      return;
    }
    if (progress.elapsed < said_) said_ = absl::ZeroDuration();  // another run
    if (progress.elapsed - said_ < kProgressInterval) return;
    said_ = progress.elapsed;
    std::fprintf(stderr, "%s\n", text.c_str());
  }

 private:
  absl::Duration said_;
};

// A model for a request that names `name`, or none.
absl::StatusOr<denoised::v1::Model> ModelOfRequests(Client& client, const std::string& name) {
  absl::StatusOr<denoised::v1::Model> model = ResolveModel(client, name);
  if (!name.empty() || !absl::IsInvalidArgument(model.status())) return model;
  for (const FieldViolation& violation : GetFieldViolations(model.status())) {
    return InvalidField(
        "--mix", absl::StrCat("must name each request's \"model\", which ", violation.description));
  }
  return model;
}

}  // namespace

absl::Status CheckBench(const BenchFlags& flags) {
  RETURN_IF_ERROR(CheckBenchFlags(flags));
  const std::pair<const char*, std::string> kFiles[] = {
      {"--json", flags.json}, {"--plot", flags.plot}, {"--record", flags.record}};
  for (const auto& [flag, path] : kFiles) {
    if (!path.empty()) RETURN_IF_ERROR(CheckNewFile(flag, path, flags.overwrite));
  }
  return absl::OkStatus();
}

absl::StatusOr<Workload> ReadWorkload(const BenchFlags& flags) {
  const TraceLimits limits = LimitsOf(flags);
  const auto prepare = [&](Workload workload) -> absl::StatusOr<Workload> {
    if (flags.connection.deadline) workload.SetDefaultDeadline(*flags.connection.deadline);
    if (!workload.HasTenants() || !flags.tenant_header.empty()) return workload;
    return InvalidField("--tenant-header", "is required: some requests have a tenant");
  };
  if (!flags.trace.empty()) {
    ASSIGN_OR_RETURN(Trace trace, ReadTrace(flags.trace, limits));
    return prepare(Workload(std::move(trace)));
  }
  ASSIGN_OR_RETURN(Mix mix, ReadMix(flags.mix));
  return prepare(Workload(std::move(mix), limits, flags.seed));
}

absl::StatusOr<std::unique_ptr<TestedServer>> StartTestedServer(
    const BenchFlags& flags, const std::vector<std::string>& more_flags, Workload& workload,
    Cancellation& cancellation) {
  ASSIGN_OR_RETURN(std::unique_ptr<TestedServer> server,
                   ConnectOrStart(flags, more_flags, cancellation));
  RETURN_IF_ERROR(workload.Resolve(
      [&](const std::string& name) { return ModelOfRequests(server->client(), name); }));
  return server;
}

RunOptions MakeRunOptions(const BenchFlags& flags) {
  return {
      .max_in_flight = flags.max_in_flight, .warmup = flags.warmup, .on_progress = ProgressLine()};
}

void ClearBenchProgress() {
  if (isatty(STDERR_FILENO)) std::fputs("\r\x1b[K", stderr);
}

void SayBench(const std::string& line) {
  ClearBenchProgress();
  std::fprintf(stderr, "%s\n", line.c_str());
}

absl::Status CheckAndRecordTrace(const BenchFlags& flags, const Trace& trace) {
  const double fastest =
      flags.compare ? *std::max_element(flags.loads.begin(), flags.loads.end()) : 1;
  const double last = trace.back().arrival_seconds / fastest;
  if (absl::ToDoubleSeconds(flags.warmup) > last) {
    return InvalidField("--warmup", absl::StrCat("must leave requests to measure: the last arrives "
                                                 "after ",
                                                 SecondsText(last), " s"));
  }
  if (flags.record.empty()) return absl::OkStatus();
  return WriteWholeFile(flags.record, TraceToText(trace)).status();
}

}  // namespace denoise
