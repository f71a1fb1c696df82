// The numbers of a benchmark as JSON; docs/bench.md describes them.
#pragma once

#include <nlohmann/json.hpp>

#include "client/bench/load_run.h"
#include "client/bench/report.h"
#include "client/bench/trace.h"

namespace denoise {

// Latencies in seconds as quantiles; rates a second.
nlohmann::ordered_json ReportToJson(const BenchReport& report);

// Every request that arrived, with what happened to it: a list.
nlohmann::ordered_json OutcomesToJson(const Trace& trace, const RunResult& result);

}  // namespace denoise
