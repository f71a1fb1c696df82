// The table of metrics in docs/observability.md, and what the server really says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tests/e2e/measured_server.h"
#include "tests/e2e/prometheus_programs.h"
#include "tests/support/metrics_text.h"

namespace denoise {
namespace {

// A row of the table, but for its unit.
struct Metric {
  std::string type;
  std::set<std::string> labels;
  std::string meaning;

  bool operator==(const Metric&) const = default;
};

std::ostream& operator<<(std::ostream& stream, const Metric& metric) {
  return stream << metric.type << " {" << absl::StrJoin(metric.labels, ", ") << "} "
                << metric.meaning;
}

using Metrics = std::map<std::string, Metric>;

// Of a sample: buckets, sums and counts are of their histogram.
std::string FamilyOf(const std::string& sample, const Metrics& metrics) {
  for (const std::string suffix : {"_bucket", "_sum", "_count"}) {
    const std::string name =
        sample.substr(0, sample.size() - std::min(sample.size(), suffix.size()));
    const auto found = metrics.find(name);
    if (absl::EndsWith(sample, suffix) && found != metrics.end() &&
        found->second.type == "histogram") {
      return name;
    }
  }
  return sample;
}

Metrics ReadPage(const std::string& page) {
  Metrics metrics;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(page, '\n'))) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(' ', 3));
    if (parts.size() < 4 || parts[0] != "#") continue;
    if (parts[1] == "HELP") metrics[parts[2]].meaning = parts[3];
    if (parts[1] == "TYPE") metrics[parts[2]].type = parts[3];
  }
  const MetricsPage parsed(page);
  for (const MetricSample& sample : parsed.samples()) {
    for (const auto& [label, value] : sample.labels) {
      if (label != "le") metrics[FamilyOf(sample.name, metrics)].labels.insert(label);
    }
  }
  return metrics;
}

std::string WithoutQuotes(std::string cell) {
  absl::StripAsciiWhitespace(&cell);
  std::erase(cell, '`');
  return cell;
}

// The rows of the table, by metric: "| `name` | type | unit | labels | meaning |". `units` gets the
// units.
Metrics ReadTable(std::map<std::string, std::string>& units) {
  std::ifstream stream("docs/observability.md");
  Metrics metrics;
  for (std::string line; std::getline(stream, line);) {
    if (!absl::StartsWith(line, "| `denoised_")) continue;
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    if (cells.size() != 7) {
      ADD_FAILURE() << "a row of other columns: " << line;
      continue;
    }
    Metric metric{
        .type = WithoutQuotes(cells[2]), .labels = {}, .meaning = WithoutQuotes(cells[5])};
    for (const std::string& label : std::vector<std::string>(
             absl::StrSplit(WithoutQuotes(cells[4]), ", ", absl::SkipEmpty()))) {
      metric.labels.insert(label);
    }
    const std::string name = WithoutQuotes(cells[1]);
    EXPECT_TRUE(metrics.emplace(name, std::move(metric)).second) << name << " has two rows";
    units[name] = WithoutQuotes(cells[3]);
  }
  return metrics;
}

class MetricsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    MeasuredServers servers;
    servers.MakeRequests();
    servers.StartTraining();  // the loss is there while a job runs
    EXPECT_TRUE(Eventually([&] {
      pages_ = servers.Pages();
      return absl::StrContains(pages_.front(), "denoised_training_loss{");
    }));
  }

  static Metrics Said() {
    Metrics all;
    for (const std::string& page : pages_) {
      for (auto& [name, metric] : ReadPage(page)) {
        const auto [entry, is_new] = all.emplace(name, metric);
        if (!is_new) entry->second.labels.merge(metric.labels);
      }
    }
    return all;
  }

  static inline std::vector<std::string> pages_;
};

TEST_F(MetricsTest, TheTableHasEveryMetricAndNoOther) {
  std::map<std::string, std::string> units;
  const Metrics table = ReadTable(units), said = Said();
  for (const auto& [name, metric] : said) {
    const auto row = table.find(name);
    if (row == table.end()) {
      ADD_FAILURE() << "docs/observability.md lacks a row:\n| `" << name << "` | " << metric.type
                    << " | UNIT | " << absl::StrJoin(metric.labels, ", ") << " | " << metric.meaning
                    << " |";
    } else {
      EXPECT_EQ(row->second, metric) << name;
    }
  }
  for (const auto& [name, metric] : table) {
    EXPECT_TRUE(said.contains(name)) << "the server has no " << name;
  }
}

TEST_F(MetricsTest, TheUnitOfAMetricIsThatOfItsName) {
  std::map<std::string, std::string> units;
  ReadTable(units);
  for (const auto& [name, unit] : units) {
    std::string stem = name;
    if (absl::EndsWith(stem, "_total")) stem.resize(stem.size() - std::string("_total").size());
    for (const std::string base : {"seconds", "bytes"}) {
      EXPECT_EQ(unit == base, absl::EndsWith(stem, "_" + base)) << name << ": " << unit;
    }
    EXPECT_FALSE(unit.empty()) << name;
  }
}

TEST_F(MetricsTest, PromtoolFindsNothingToMend) {
  const TempDir folder;
  const std::string file = (folder.path() / "page").string();
  for (const std::string& page : pages_) {
    std::ofstream(file) << page;
    const auto checked = RunProcess(
        {"/bin/sh", "-c", absl::StrCat(PrometheusProgram("promtool"), " check metrics <", file)},
        kPatience);
    ASSERT_TRUE(checked.ok()) << checked.status();
    EXPECT_EQ(checked->exit_status, kExitedCleanly);
    EXPECT_EQ(checked->output + checked->error, "");
  }
}

}  // namespace
}  // namespace denoise
