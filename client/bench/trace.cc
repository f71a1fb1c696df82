#include "client/bench/trace.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/status_macros.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

constexpr char kArrival[] = "arrival_seconds";
constexpr JsonOptions kLineLimits{.max_bytes = 1 << 18, .max_depth = 4, .max_values = 100};

absl::StatusOr<TracedRequest> ParseLine(std::string_view line, double earliest) {
  ASSIGN_OR_RETURN(const nlohmann::json object, ParseStrictJsonObject(line, kLineLimits));
  TracedRequest traced;
  ConfigReader reader(object, ConfigReader::Null::kValue);
  traced.arrival_seconds = -1;  // what an absent one means
  reader.Read(kArrival, traced.arrival_seconds);
  if (!(traced.arrival_seconds >= earliest && traced.arrival_seconds <= kLongestTraceSeconds)) {
    reader.Violate(kArrival,
                   absl::StrCat("must be a number from ", earliest,
                                ", when the request before arrives, to ", kLongestTraceSeconds));
  }
  ReadLoadRequest(reader, traced.load);
  RETURN_IF_ERROR(reader.Finish("a line of a trace"));
  return traced;
}

absl::Status AtLine(size_t line, const absl::Status& status) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", status.message()));
}

absl::Status TooMany(const char* subject) {
  return absl::InvalidArgumentError(
      absl::StrCat(subject, " has more than ", kMostTracedRequests, " requests, the maximum"));
}

}  // namespace

absl::StatusOr<Trace> GenerateTrace(const Mix& mix, double rate, const TraceLimits& limits,
                                    uint64_t seed) {
  Trace trace;
  SeededRandom random(seed);
  double arrival = random.Exponential() / rate;
  while (arrival < limits.seconds && trace.size() < limits.requests) {
    if (trace.size() == kMostTracedRequests) return TooMany("the run");
    trace.push_back({arrival, DrawRequest(mix, random)});
    arrival += random.Exponential() / rate;
  }
  if (trace.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("no request arrives within ", limits.seconds,
                                                   " s at ", rate,
                                                   " requests/s. Let it last longer"));
  }
  return trace;
}

absl::StatusOr<Trace> ParseTrace(std::string_view text) {
  Trace trace;
  size_t number = 0;
  double earliest = 0;
  for (const absl::string_view line :
       absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++number;
    if (line.empty()) continue;
    if (trace.size() == kMostTracedRequests) return TooMany("the trace");
    absl::StatusOr<TracedRequest> traced = ParseLine({line.data(), line.size()}, earliest);
    if (!traced.ok()) return AtLine(number, traced.status());
    earliest = traced->arrival_seconds;
    trace.push_back(*std::move(traced));
  }
  if (trace.empty()) return absl::InvalidArgumentError("the trace has no requests");
  return trace;
}

std::string TraceToText(const Trace& trace) {
  std::string text;
  for (const TracedRequest& traced : trace) {
    nlohmann::ordered_json line = {{kArrival, traced.arrival_seconds}};
    line.update(LoadRequestToJson(traced.load));
    absl::StrAppend(&text, line.dump(), "\n");
  }
  return text;
}

absl::StatusOr<Trace> LimitTrace(Trace trace, const TraceLimits& limits) {
  const auto late = std::find_if(trace.begin(), trace.end(), [&](const TracedRequest& traced) {
    return traced.arrival_seconds >= limits.seconds;
  });
  const size_t in_time = static_cast<size_t>(late - trace.begin());
  trace.resize(std::min(in_time, limits.requests));
  if (!trace.empty()) return trace;
  return absl::InvalidArgumentError(
      absl::StrCat("the trace has no request in its first ", limits.seconds, " s"));
}

double MeanRate(const Trace& trace) {
  return static_cast<double>(trace.size()) / trace.back().arrival_seconds;
}

Trace SpeedUp(Trace trace, double factor) {
  for (TracedRequest& traced : trace) traced.arrival_seconds /= factor;
  return trace;
}

}  // namespace denoise
