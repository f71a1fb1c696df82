// What a benchmark has measured, as tables.
#pragma once

#include <string>

#include "client/bench/comparison.h"
#include "client/bench/load_run.h"
#include "client/bench/report.h"

namespace denoise {

enum class TableStyle { kPlain, kMarkdown };

// Totals, latencies, groups of requests and failures; ends with a newline.
std::string BenchReportText(const BenchReport& report, TableStyle style);

// A row for each run; ends with a newline.
std::string ComparisonText(const Comparison& comparison, TableStyle style);

// "12 s: 340 of 2000 requests have arrived, 45 in flight".
std::string BenchProgressText(const RunProgress& progress);

// "0.0123", "1.23", "123".
std::string SecondsText(double seconds);
// "0.401", "12.3", "3000".
std::string RateText(double per_second);

}  // namespace denoise
