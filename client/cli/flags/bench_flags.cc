#include "client/cli/flags/bench_flags.h"

#include <CLI/Error.hpp>
#include <CLI/Option.hpp>
#include <CLI/Validators.hpp>
#include <algorithm>
#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/bench/trace.h"
#include "client/cli/flags/generate_flags.h"
#include "core/base/field_violations.h"
#include "core/command_line/flag_values.h"

namespace denoise {
namespace {

constexpr char kServerGroup[] = "Server under test";
constexpr char kLoadGroup[] = "Load";
constexpr char kTraceGroup[] = "Recorded load";
constexpr char kCompareGroup[] = "Comparison";
constexpr char kReportGroup[] = "Report";

constexpr double kMostRate = 10'000;  // requests a second
constexpr double kMostLoad = 100;
constexpr int kMostInFlight = 10'000;
constexpr int kMostCapacityCalls = 1000;
constexpr size_t kMostLoads = 20;
constexpr const char* kBatchings[] = {"evaluation", "request", "none"};

double ParsePositive(const std::string& flag, const std::string& text, double most) {
  double value;
  if (absl::SimpleAtod(text, &value) && value > 0 && value <= most) return value;
  RefuseValue(flag, absl::StrCat("a number above 0 and at most ", most), text);
}

CLI::Option* AddPositive(CLI::App& app, const std::string& flag, std::optional<double>& value,
                         double most, const std::string& help) {
  return app
      .add_option_function<std::string>(
          flag,
          [flag, &value, most](const std::string& text) {
            value = ParsePositive(flag, text, most);
          },
          help)
      ->type_name("X");
}

absl::Duration ParseTime(const std::string& flag, const std::string& text) {
  const absl::StatusOr<absl::Duration> time = ParseDeadline(text);
  if (!time.ok()) throw CLI::ValidationError(flag, std::string(time.status().message()));
  if (*time <= absl::Seconds(kLongestTraceSeconds)) return *time;
  RefuseValue(flag, "at most 24h", text);
}

CLI::Option* AddTime(CLI::App& app, const std::string& flag,
                     const std::function<void(absl::Duration)>& set, const std::string& help) {
  return app
      .add_option_function<std::string>(
          flag, [flag, set](const std::string& text) { set(ParseTime(flag, text)); }, help)
      ->type_name("DURATION");
}

// Metadata keys that gRPC accepts for text and keeps for nobody.
std::string CheckTenantHeader(const std::string& key) {
  const bool has_letters_of_keys = std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
  const bool ok = has_letters_of_keys && !key.empty() && !key.starts_with("grpc-") &&
                  !key.ends_with("-bin") && key.size() <= 64;
  return ok ? "" : "must be a metadata key: lower-case letters, digits, -, _ and .; is " + key;
}

std::string CheckPng(const std::string& path) {
  return absl::EndsWithIgnoreCase(path, ".png") ? "" : "must end with .png; is " + path;
}

void AddServerFlags(CLI::App& app, BenchFlags& flags) {
  AddConnectionFlags(app, flags.connection);
  app.get_option("--server")
      ->each([&flags](const std::string&) { flags.has_server = true; })
      ->description("The address of the server. Default: one of its own (--models)")
      ->group(kServerGroup);
  app.get_option("--deadline")
      ->description("The deadline of requests that have none, from their arrival")
      ->group(kLoadGroup);
  for (const char* flag : {"--tls", "--tls-ca"}) {
    app.get_option(flag)->needs("--server")->group(kServerGroup);
  }
  app.add_option("--models", flags.models,
                 "Start a server with the models in this folder, on a free port of this machine")
      ->type_name("DIR")
      ->excludes("--server")
      ->group(kServerGroup);
  app.add_option("server_flag", flags.server_flags, "After --: flags for the server of its own")
      ->type_name("...");
  app.add_option("--tenant-header", flags.tenant_header,
                 "The metadata key that carries a request's tenant, for the requests and for the "
                 "server of its own")
      ->type_name("KEY")
      ->check(CLI::Validator(CheckTenantHeader, ""))
      ->group(kServerGroup);
}

void AddRateFlags(CLI::App& app, BenchFlags& flags) {
  AddPositive(app, "--rate", flags.rate, kMostRate, "Requests a second, with Poisson arrivals")
      ->group(kLoadGroup);
  AddPositive(app, "--load", flags.load, kMostLoad,
              "The same as a part of the server's capacity, which is measured first. Default: 0.8")
      ->excludes("--rate")
      ->group(kLoadGroup);
  AddPositive(app, "--capacity", flags.capacity, kMostRate,
              "The capacity in requests a second. Default: measured")
      ->excludes("--rate")
      ->group(kLoadGroup);
  AddWholeNumber(app, "--capacity-calls", flags.capacity_calls, 1, kMostCapacityCalls,
                 "Calls in flight while the capacity is measured")
      ->default_str(absl::StrCat(flags.capacity_calls))
      ->excludes("--rate")
      ->excludes("--capacity")
      ->group(kLoadGroup);
}

CLI::Option* AddFile(CLI::App& app, const char* flag, std::string& file, const char* help) {
  return app.add_option(flag, file, help)->type_name("FILE");
}

void AddMixFlags(CLI::App& app, BenchFlags& flags) {
  AddFile(app, "--mix", flags.mix,
          "What is requested, as JSON; docs/bench.md explains it. Default: 5, 10, 20 and 50 steps "
          "of the only model")
      ->group(kLoadGroup);
  app.add_option_function<std::string>(
         "--seed",
         [&flags](const std::string& text) {
           flags.seed = ParseWholeNumber<uint64_t>("--seed", text);
         },
         "The same seed gives the same requests and arrivals. Default: 0")
      ->type_name("N")
      ->group(kLoadGroup);
}

void AddTraceFlags(CLI::App& app, BenchFlags& flags) {
  AddFile(app, "--record", flags.record, "Write the requests and their arrivals to this file")
      ->group(kTraceGroup);
  AddFile(app, "--trace", flags.trace, "Send the requests that --record wrote")
      ->excludes("--mix")
      ->excludes("--seed")
      ->excludes("--rate")
      ->excludes("--load")
      ->excludes("--record")
      ->group(kTraceGroup);
}

void AddLimitFlags(CLI::App& app, BenchFlags& flags) {
  app.add_option_function<std::string>(
         "--requests",
         [&flags](const std::string& text) {
           flags.requests =
               ParseWholeNumber<int64_t>("--requests", text, 1, int64_t{kMostTracedRequests});
         },
         "Send at most this many requests")
      ->type_name("N")
      ->group(kLoadGroup);
  AddTime(
      app, "--duration", [&flags](absl::Duration time) { flags.duration = time; },
      "Send requests for this long. Default: 30s, unless --requests or --trace is given")
      ->group(kLoadGroup);
  AddTime(
      app, "--warmup", [&flags](absl::Duration time) { flags.warmup = time; },
      "Do not measure requests that arrive in the beginning. Default: measure all")
      ->group(kLoadGroup);
  AddWholeNumber(app, "--max-in-flight", flags.max_in_flight, 1, kMostInFlight,
                 "Requests that arrive while this many are in flight count as not sent")
      ->default_str(absl::StrCat(flags.max_in_flight))
      ->group(kLoadGroup);
}

void ParseLoads(const std::string& text, std::vector<double>& loads) {
  loads.clear();
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    loads.push_back(ParsePositive("--loads", std::string(part), kMostLoad));
  }
  if (loads.size() > kMostLoads) {
    RefuseValue("--loads", absl::StrCat("at most ", kMostLoads, " numbers"), text);
  }
}

void ParseBatchings(const std::string& text, std::vector<std::string>& batchings) {
  batchings = absl::StrSplit(text, ',');
  for (size_t i = 0; i < batchings.size(); ++i) {
    const bool known = std::find(std::begin(kBatchings), std::end(kBatchings), batchings[i]) !=
                       std::end(kBatchings);
    const bool repeated =
        std::find(batchings.begin(), batchings.begin() + i, batchings[i]) != batchings.begin() + i;
    if (known && !repeated) continue;
    RefuseValue("--batchings",
                absl::StrCat("some of ", absl::StrJoin(kBatchings, ","), ", each once"), text);
  }
}

void AddCompareFlags(CLI::App& app, BenchFlags& flags) {
  app.add_flag("--compare", flags.compare,
               "Send one trace at several loads to several servers, which differ in --batching")
      ->needs("--models")
      ->excludes("--rate")
      ->excludes("--load")
      ->group(kCompareGroup);
  app.add_option_function<std::string>(
         "--loads", [&flags](const std::string& text) { ParseLoads(text, flags.loads); },
         "Of the capacity of the first server. Default: 0.5,0.8,1,1.5,3")
      ->type_name("X,X,...")
      ->needs("--compare")
      ->group(kCompareGroup);
  app.add_option_function<std::string>(
         "--batchings",
         [&flags](const std::string& text) { ParseBatchings(text, flags.batchings); },
         "Default: evaluation,request,none")
      ->type_name("NAME,NAME,...")
      ->needs("--compare")
      ->group(kCompareGroup);
}

void AddReportFlags(CLI::App& app, BenchFlags& flags) {
  app.add_option("--json", flags.json, "Also write everything that was measured to this file")
      ->type_name("FILE")
      ->group(kReportGroup);
  app.add_option("--plot", flags.plot,
                 "Also draw the latencies and the calls in flight, or the comparison, to this "
                 ".png file")
      ->type_name("FILE")
      ->check(CLI::Validator(CheckPng, ""))
      ->group(kReportGroup);
  app.add_flag("--markdown", flags.markdown, "Print the tables in Markdown")->group(kReportGroup);
  AddOverwriteFlag(app, flags.overwrite, "--json, --plot and --record")->group(kReportGroup);
}

}  // namespace

void AddBenchFlags(CLI::App& app, BenchFlags& flags) {
  AddServerFlags(app, flags);
  AddRateFlags(app, flags);
  AddMixFlags(app, flags);
  AddLimitFlags(app, flags);
  AddTraceFlags(app, flags);
  AddCompareFlags(app, flags);
  AddReportFlags(app, flags);
}

absl::Status CheckBenchFlags(const BenchFlags& flags) {
  if (!flags.has_server && flags.models.empty()) {
    return InvalidField("--models",
                        "is required to start a server; name one that runs with --server");
  }
  if (flags.has_server && !flags.server_flags.empty()) {
    return InvalidField("--", absl::StrCat("gives flags to a server of its own, not to --server; "
                                           "has ",
                                           flags.server_flags.front()));
  }
  if (!flags.trace.empty() && !flags.compare && flags.capacity) {
    return InvalidField("--capacity", "has no effect on --trace without --compare");
  }
  return absl::OkStatus();
}

}  // namespace denoise
