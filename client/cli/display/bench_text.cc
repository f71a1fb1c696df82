#include "client/cli/display/bench_text.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/display/text.h"

namespace denoise {
namespace {

using Row = std::vector<std::string>;
using Rows = std::vector<Row>;

constexpr size_t kLongestMessage = 60;

std::string Table(const Rows& rows, TableStyle style) {
  return style == TableStyle::kMarkdown ? FormatMarkdownTable(rows) : FormatTable(rows);
}

std::string Percent(double part) { return absl::StrFormat("%.1f %%", 100 * part); }

std::string QuantileText(const Samples& samples, double p) {
  return samples.empty() ? "-" : SecondsText(samples.Quantile(p));
}

// A group of requests with the name under which it is shown.
struct NamedGroup {
  std::string name;
  const GroupReport& group;
};

// Each division of the requests that has more than one part.
std::vector<NamedGroup> ShownGroups(const BenchReport& report) {
  std::vector<NamedGroup> shown = {{"all", report.all}};
  const auto add = [&](const std::vector<GroupReport>& groups, const char* kind) {
    if (groups.size() < 2) return;
    for (const GroupReport& group : groups) {
      shown.push_back({absl::StrCat(kind, group.name.empty() ? "none" : group.name), group});
    }
  };
  add(report.entries, "");
  add(report.priorities, "priority ");
  add(report.tenants, "tenant ");
  return shown;
}

void AddServerTotals(const BenchReport& report, Rows& rows) {
  if (!report.server) return;
  const auto evaluations = static_cast<double>(report.server->evaluations);
  rows.push_back({"evaluations", absl::StrCat(RateText(report.PerSecond(evaluations)), "/s")});
  if (const auto row_count = report.RowsPerEvaluation()) {
    rows.push_back({"rows per evaluation", RateText(*row_count)});
  }
}

std::string RequestsText(const BenchReport& report) {
  const GroupReport& all = report.all;
  return absl::StrCat(all.requests, ": ", all.succeeded, " succeeded, ", all.in_time,
                      " of them in time",
                      all.not_sent > 0 ? absl::StrCat("; ", all.not_sent, " not sent") : "",
                      all.shortened > 0 ? absl::StrCat("; ", all.shortened, " shortened") : "",
                      report.cut_off > 0 ? absl::StrCat("; ", report.cut_off, " cut off") : "");
}

std::string TotalsTable(const BenchReport& report, TableStyle style) {
  const GroupReport& all = report.all;
  Rows rows = {
      {"measured", absl::StrFormat("%.1f s", report.seconds)},
      {"requests", RequestsText(report)},
      {"offered", absl::StrCat(RateText(report.offered_rate), " requests/s")},
      {"goodput",
       absl::StrCat(RateText(report.PerSecond(static_cast<double>(all.in_time))), " requests/s")},
      {"throughput",
       absl::StrCat(RateText(report.PerSecond(static_cast<double>(all.images))), " images/s")}};
  AddServerTotals(report, rows);
  rows.push_back(
      {"frames", absl::StrCat(all.frames, " received, ", all.frames_dropped, " dropped")});
  if (!report.send_delay.empty()) {
    rows.push_back(
        {"send delay", absl::StrCat("p99 ", QuantileText(report.send_delay, 0.99), " s")});
  }
  if (style == TableStyle::kMarkdown) rows.insert(rows.begin(), {"total", ""});
  return Table(rows, style);
}

std::string LatencyTable(const BenchReport& report, TableStyle style) {
  constexpr std::pair<const char*, Samples GroupReport::*> kLatencies[] = {
      {"queue wait", &GroupReport::queue_wait},
      {"first frame", &GroupReport::first_frame},
      {"request", &GroupReport::request}};
  Rows rows = {{"seconds", "of", "p50", "p95", "p99", "max"}};
  for (const auto& [latency, samples] : kLatencies) {
    std::string label = latency;
    for (const auto& [name, group] : ShownGroups(report)) {
      const Samples& of_group = group.*samples;
      rows.push_back({std::exchange(label, ""), Printable(name), QuantileText(of_group, 0.5),
                      QuantileText(of_group, 0.95), QuantileText(of_group, 0.99),
                      QuantileText(of_group, 1)});
    }
  }
  return Table(rows, style);
}

std::string GroupTable(const BenchReport& report, TableStyle style) {
  Rows rows = {{"requests of", "arrived", "succeeded", "in time", "goodput/s", "images/s",
                "dropped", "device share"}};
  for (const auto& [name, group] : ShownGroups(report)) {
    rows.push_back({Printable(name), absl::StrCat(group.requests), absl::StrCat(group.succeeded),
                    absl::StrCat(group.in_time),
                    RateText(report.PerSecond(static_cast<double>(group.in_time))),
                    RateText(report.PerSecond(static_cast<double>(group.images))),
                    absl::StrCat(group.frames_dropped), Percent(report.Share(group))});
  }
  return Table(rows, style);
}

std::string FailureTable(const BenchReport& report, TableStyle style) {
  Rows rows = {{"failed", "code", "reason", "the first message"}};
  for (const Failure& failure : report.failures) {
    std::string message = Printable(failure.message);
    if (message.size() > kLongestMessage) message = message.substr(0, kLongestMessage - 3) + "...";
    rows.push_back({absl::StrCat(failure.count), failure.code,
                    failure.reason.empty() ? "-" : Printable(failure.reason), message});
  }
  return Table(rows, style);
}

Row ComparedRow(const ComparedRun& run) {
  const GroupReport& all = run.report.all;
  const auto rows = run.report.RowsPerEvaluation();
  return {Printable(run.batching),
          absl::StrCat(run.load),
          RateText(run.report.offered_rate),
          RateText(run.report.PerSecond(static_cast<double>(all.in_time))),
          QuantileText(all.request, 0.5),
          QuantileText(all.request, 0.99),
          QuantileText(all.first_frame, 0.99),
          absl::StrCat(all.requests - all.succeeded),
          rows ? RateText(*rows) : "-"};
}

}  // namespace

std::string SecondsText(double seconds) {
  if (seconds >= 100) return absl::StrFormat("%.0f", seconds);
  // Three digits, but never an exponent.
  const int digits = seconds >= 10 ? 1 : seconds >= 1 ? 2 : seconds >= 0.1 ? 3 : 4;
  return absl::StrFormat("%.*f", digits, seconds);
}

std::string RateText(double per_second) {
  return per_second >= 1000 ? absl::StrFormat("%.0f", per_second)
                            : absl::StrFormat("%.3g", per_second);
}

std::string BenchReportText(const BenchReport& report, TableStyle style) {
  std::string text = absl::StrCat(TotalsTable(report, style), "\n\n", LatencyTable(report, style),
                                  "\n\n", GroupTable(report, style), "\n");
  if (!report.failures.empty()) absl::StrAppend(&text, "\n", FailureTable(report, style), "\n");
  return text;
}

std::string ComparisonText(const Comparison& comparison, TableStyle style) {
  Rows rows = {{"batching", "load", "offered/s", "goodput/s", "request p50 s", "request p99 s",
                "first frame p99 s", "failed", "rows per evaluation"}};
  for (const ComparedRun& run : comparison.runs) rows.push_back(ComparedRow(run));
  return absl::StrCat(Table(rows, style), "\n");
}

std::string BenchProgressText(const RunProgress& progress) {
  return absl::StrFormat("%.0f s: %d of %d requests have arrived, %d in flight",
                         absl::ToDoubleSeconds(progress.elapsed), progress.arrived, progress.total,
                         progress.in_flight);
}

}  // namespace denoise
