#include "client/cli/commands/bench_report.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/bench/report_json.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/display/bench_text.h"
#include "client/cli/display/text.h"
#include "client/drawing/drawing.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

using nlohmann::ordered_json;

TableStyle StyleOf(const BenchFlags& flags) {
  return flags.markdown ? TableStyle::kMarkdown : TableStyle::kPlain;
}

absl::Status WriteJson(const std::string& path, const ordered_json& json) {
  if (path.empty()) return absl::OkStatus();
  // A server may send any bytes; JSON is UTF-8.
  const std::string text = json.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  return WriteWholeFile(path, text).status();
}

// What cannot be drawn, because nothing succeeded, is a note and no error.
absl::Status WritePlot(const std::string& path, const absl::StatusOr<std::string>& png) {
  if (png.ok()) return WriteWholeFile(path, *png).status();
  std::fprintf(stderr, "denoise: note: %s was not drawn: %s\n", path.c_str(),
               std::string(png.status().message()).c_str());
  return absl::OkStatus();
}

LatencyLine LineOf(const GroupReport& group) {
  return {Printable(group.name), group.request.sorted(), group.first_frame.sorted()};
}

LatencyChart ChartOf(const BenchFlags& flags, const std::string& title, const BenchReport& report,
                     const RunResult& result) {
  LatencyChart chart{.title = title, .warmup_seconds = absl::ToDoubleSeconds(flags.warmup)};
  const size_t entries = report.entries.size();
  if (entries > 1 && entries <= kMaxChartedLines) {
    for (const GroupReport& entry : report.entries) chart.lines.push_back(LineOf(entry));
  } else {
    chart.lines.push_back(LineOf(report.all));
  }
  for (const InFlight& corner : InFlightOverTime(result)) {
    chart.in_flight.push_back({corner.seconds, static_cast<double>(corner.calls)});
  }
  return chart;
}

ComparedLine& LineNamed(const std::string& name, ComparisonChart& chart) {
  for (ComparedLine& line : chart.lines) {
    if (line.name == name) return line;
  }
  return chart.lines.emplace_back(ComparedLine{.name = name});
}

ComparisonChart ChartOf(const Comparison& comparison) {
  ComparisonChart chart{
      .title = absl::StrCat("One trace on servers of different --batching; capacity ",
                            RateText(comparison.capacity), " requests/s"),
      .capacity = comparison.capacity};
  for (const ComparedRun& run : comparison.runs) {
    ComparedLine& line = LineNamed(run.batching, chart);
    const GroupReport& all = run.report.all;
    line.goodput.push_back({run.load, run.report.PerSecond(static_cast<double>(all.in_time))});
    if (!all.request.empty()) line.request_p99.push_back({run.load, all.request.Quantile(0.99)});
    if (!all.first_frame.empty()) {
      line.first_frame_p99.push_back({run.load, all.first_frame.Quantile(0.99)});
    }
  }
  for (ComparedLine& line : chart.lines) {
    for (auto* const curve : {&line.request_p99, &line.first_frame_p99, &line.goodput}) {
      std::sort(curve->begin(), curve->end(),
                [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; });
    }
  }
  return chart;
}

}  // namespace

absl::Status WriteBenchReport(const BenchFlags& flags, const std::string& title, const Trace& trace,
                              const RunResult& result) {
  const BenchReport report = MakeReport(trace, result);
  std::fputs(BenchReportText(report, StyleOf(flags)).c_str(), stdout);
  ordered_json json = {{"title", title}};
  json.update(ReportToJson(report));
  json["outcomes"] = OutcomesToJson(trace, result);
  RETURN_IF_ERROR(WriteJson(flags.json, json));
  if (flags.plot.empty()) return absl::OkStatus();
  return WritePlot(flags.plot,
                   DrawLatencies(ChartOf(flags, title, report, result), FileKind::kPng));
}

absl::Status WriteComparison(const BenchFlags& flags, const Comparison& comparison) {
  std::fputs(ComparisonText(comparison, StyleOf(flags)).c_str(), stdout);
  ordered_json json = {{"capacity", comparison.capacity},
                       {"interrupted", comparison.interrupted},
                       {"runs", ordered_json::array()}};
  for (const ComparedRun& run : comparison.runs) {
    ordered_json one = {{"batching", run.batching}, {"load", run.load}};
    one.update(ReportToJson(run.report));
    json["runs"].push_back(std::move(one));
  }
  RETURN_IF_ERROR(WriteJson(flags.json, json));
  if (flags.plot.empty()) return absl::OkStatus();
  return WritePlot(flags.plot, DrawComparison(ChartOf(comparison), FileKind::kPng));
}

}  // namespace denoise
