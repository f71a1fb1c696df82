// The trace of a benchmark: every request with the moment at which it arrives. A file of one is
// JSON, a line for each request; docs/bench.md lists the keys.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/bench/load_request.h"
#include "client/bench/mix.h"

namespace denoise {

struct TracedRequest {
  double arrival_seconds = 0;  // after the start of the run
  LoadRequest load;
};

// By arrival; never empty.
using Trace = std::vector<TracedRequest>;

inline constexpr size_t kMostTracedRequests = 200'000;
inline constexpr double kLongestTraceSeconds = 86'400;

// Whichever comes first ends a trace.
struct TraceLimits {
  size_t requests = std::numeric_limits<size_t>::max();
  double seconds = std::numeric_limits<double>::infinity();
};

// Poisson arrivals of `rate` requests a second, drawn from `mix`. The same seed gives the same
// requests at every rate, only closer together or further apart. InvalidArgument if there are none
// within `limits`, or more than kMostTracedRequests.
absl::StatusOr<Trace> GenerateTrace(const Mix& mix, double rate, const TraceLimits& limits,
                                    uint64_t seed);

// InvalidArgument names the line and the key ("line 3: steps: must be ...").
absl::StatusOr<Trace> ParseTrace(std::string_view text);
// The text that ParseTrace reads.
std::string TraceToText(const Trace& trace);

// The beginning of `trace`, up to `limits`. InvalidArgument if nothing is left.
absl::StatusOr<Trace> LimitTrace(Trace trace, const TraceLimits& limits);

// Requests a second up to the last arrival; infinite if all arrive at the start.
double MeanRate(const Trace& trace);

// The same requests `factor` times as fast.
Trace SpeedUp(Trace trace, double factor);

}  // namespace denoise
