#include "client/cli/display/bench_text.h"

#include "client/cli/display/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(BenchText, SecondsHaveThreeDigitsAndNoExponent) {
  EXPECT_EQ(SecondsText(0.00012), "0.0001");
  EXPECT_EQ(SecondsText(0.01234), "0.0123");
  EXPECT_EQ(SecondsText(0.1234), "0.123");
  EXPECT_EQ(SecondsText(1.234), "1.23");
  EXPECT_EQ(SecondsText(12.34), "12.3");
  EXPECT_EQ(SecondsText(123.4), "123");
  EXPECT_EQ(SecondsText(12345.6), "12346");
}

TEST(BenchText, RatesHaveNoExponent) {
  EXPECT_EQ(RateText(0.4012), "0.401");
  EXPECT_EQ(RateText(12.34), "12.3");
  EXPECT_EQ(RateText(3051.2), "3051");
}

GroupReport GroupOf(const std::string& name, size_t requests) {
  GroupReport group{.name = name, .requests = requests, .succeeded = requests, .in_time = requests};
  group.images = requests;
  group.row_evaluations = static_cast<double>(requests);
  for (size_t i = 1; i <= requests; ++i) group.request.Add(static_cast<double>(i));
  group.request.Sort();
  return group;
}

BenchReport SmallReport() {
  BenchReport report{.seconds = 10, .offered_rate = 4, .all = GroupOf("all", 40)};
  report.entries = {GroupOf("5 steps", 30), GroupOf("evil\x1b[2J", 10)};
  report.priorities = {GroupOf("normal", 40)};
  report.tenants = {GroupOf("", 20), GroupOf("acme", 20)};
  return report;
}

TEST(BenchText, DividesOnlyByWhatDiffers) {
  const std::string text = BenchReportText(SmallReport(), TableStyle::kPlain);
  EXPECT_THAT(text, AllOf(HasSubstr("40: 40 succeeded, 40 of them in time"), HasSubstr("5 steps"),
                          HasSubstr("tenant none"), HasSubstr("tenant acme"),
                          Not(HasSubstr("priority")), Not(HasSubstr("failed"))));
  EXPECT_THAT(text, HasSubstr("request      all          20.0  38.0  40.0  40.0"));
  EXPECT_THAT(text, AllOf(HasSubstr("75.0 %"), HasSubstr("evil\\x1b[2J"), Not(HasSubstr("\x1b"))));
}

TEST(BenchText, FailuresAreCountedAndShortened) {
  BenchReport report = SmallReport();
  report.failures = {{"UNAVAILABLE", "QUEUE_FULL", std::string(200, 'x'), 7}};
  const std::string text = BenchReportText(report, TableStyle::kPlain);
  EXPECT_THAT(text, HasSubstr("7       UNAVAILABLE  QUEUE_FULL  xxx"));
  EXPECT_THAT(text, Not(HasSubstr(std::string(61, 'x'))));
}

TEST(BenchText, AComparisonHasARowForEachRun) {
  Comparison comparison{.capacity = 4, .runs = {{"evaluation", 0.5, SmallReport()}}};
  comparison.runs.push_back({"none", 3, {}});
  const std::string text = ComparisonText(comparison, TableStyle::kMarkdown);
  EXPECT_THAT(text, StartsWith("| batching | load | offered/s | goodput/s |"));
  EXPECT_THAT(text, HasSubstr("\n| evaluation | 0.5 | 4 | 4 | 20.0 | 40.0 | - | 0 | - |\n"));
  EXPECT_THAT(text, HasSubstr("\n| none | 3 | 0 | 0 | - | - | - | 0 | - |\n"));
}

TEST(Text, AMarkdownTableHasALineUnderItsHead) {
  EXPECT_EQ(FormatMarkdownTable({{"a", "b"}, {"1", "2"}}), "| a | b |\n|---|---|\n| 1 | 2 |");
}

}  // namespace
}  // namespace denoise
