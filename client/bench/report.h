// What a run of a benchmark has measured.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "client/bench/load_run.h"
#include "client/bench/samples.h"
#include "client/bench/server_totals.h"
#include "client/bench/trace.h"

namespace denoise {

// Some of a run's requests: all, or those of one entry, priority or tenant.
struct GroupReport {
  std::string name;
  size_t requests = 0;  // that arrived after the warm-up
  size_t not_sent = 0;  // because too many were in flight
  size_t succeeded = 0;
  size_t in_time = 0;  // succeeded within their deadline, or without one
  size_t images = 0;
  size_t frames = 0;
  size_t frames_dropped = 0;
  size_t shortened = 0;        // ran fewer steps than they asked for
  double row_evaluations = 0;  // that the server did for them

  Samples queue_wait;   // as the server says
  Samples first_frame;  // from the arrival, as are those of the next
  Samples request;      // only of requests that succeeded
};

// Requests that failed in the same way.
struct Failure {
  std::string code;     // "UNAVAILABLE"
  std::string reason;   // "QUEUE_FULL"; empty where the server gives none
  std::string message;  // of the first of them
  size_t count = 0;
};

// From the end of the warm-up until the last request has ended. Requests that an interruption cut
// off are counted, but not measured.
struct BenchReport {
  double seconds = 0;
  double offered_rate = 0;  // requests that arrive, a second, over the whole trace
  GroupReport all;
  std::vector<GroupReport> entries, priorities, tenants;  // in the order of their names
  std::vector<Failure> failures;                          // the most frequent first
  Samples send_delay;  // between the arrival of a request and its call
  std::optional<ServerTotals> server;
  size_t cut_off = 0;
  bool interrupted = false;

  double PerSecond(double count) const { return seconds > 0 ? count / seconds : 0; }
  // The part of the row evaluations of all requests that `group` got.
  double Share(const GroupReport& group) const;
  // Of the server's evaluations; nullopt if it did none, or does not say.
  std::optional<double> RowsPerEvaluation() const;
};

BenchReport MakeReport(const Trace& trace, const RunResult& result);

// How many calls were in flight over the time since the start, as the corners of a step function.
struct InFlight {
  double seconds;
  int calls;
};
std::vector<InFlight> InFlightOverTime(const RunResult& result);

}  // namespace denoise
