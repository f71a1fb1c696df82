#include "client/bench/report.h"

#include "client/bench/report_json.h"
#include "client/bench/samples.h"
#include "core/base/error_details.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

Samples SamplesOf(const std::vector<double>& values) {
  Samples samples;
  for (const double value : values) samples.Add(value);
  samples.Sort();
  return samples;
}

TEST(Samples, QuantilesAreOfTheNearestRank) {
  std::vector<double> hundred;
  for (int i = 100; i >= 1; --i) hundred.push_back(i);
  const Samples samples = SamplesOf(hundred);
  EXPECT_EQ(samples.Quantile(0.5), 50);
  EXPECT_EQ(samples.Quantile(0.95), 95);
  EXPECT_EQ(samples.Quantile(0.99), 99);
  EXPECT_EQ(samples.Quantile(0.991), 100);
  EXPECT_EQ(samples.Quantile(1), 100);
  EXPECT_EQ(samples.Quantile(0), 1);
  EXPECT_EQ(SamplesOf({7}).Quantile(0.01), 7);
  EXPECT_EQ(SamplesOf({1, 2}).Quantile(0.5), 1);
  EXPECT_EQ(SamplesOf({3, 1, 2}).Quantile(0.5), 2);
}

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

// Requests that arrive once a second, of which the even ones are urgent and belong to "acme".
Trace AlternatingTrace(size_t requests) {
  Trace trace(requests);
  for (size_t i = 0; i < requests; ++i) {
    trace[i].arrival_seconds = static_cast<double>(i);
    trace[i].load.entry = i % 2 == 0 ? "even" : "odd";
    trace[i].load.deadline = absl::Seconds(3);
    if (i % 2 != 0) continue;
    trace[i].load.tenant = "acme";
    trace[i].load.request.set_priority(denoised::v1::PRIORITY_INTERACTIVE);
  }
  return trace;
}

// Sent on time, and successful after `latency`.
CallOutcome Outcome(size_t request, absl::Duration latency) {
  const absl::Time arrival = kStart + absl::Seconds(request);
  return {.request = request,
          .arrival = arrival,
          .sent = arrival,
          .end = arrival + latency,
          .queue_wait = absl::Milliseconds(100),
          .first_frame = latency / 2,
          .images = 1,
          .frames = 4,
          .frames_dropped = 1,
          .row_evaluations = request % 2 == 0 ? 30.0 : 10.0};
}

RunResult ResultOf(std::vector<CallOutcome> outcomes, absl::Duration warmup = {}) {
  return {.start = kStart, .measured_from = kStart + warmup, .outcomes = std::move(outcomes)};
}

TEST(Report, CountsWhatSucceededAndWhatWasInTime) {
  CallOutcome full = Outcome(2, absl::Milliseconds(10));
  full.status = WithErrorReason(absl::UnavailableError("the queue is full"), "QUEUE_FULL");
  full.images = 0;
  const Trace trace = AlternatingTrace(5);
  const BenchReport report =
      MakeReport(trace, ResultOf({Outcome(0, absl::Seconds(2)),
                                  Outcome(1, absl::Seconds(4)),
                                  full,
                                  {.request = 3, .arrival = kStart + absl::Seconds(3)},
                                  Outcome(4, absl::Seconds(1))}));
  EXPECT_EQ(report.all.requests, 5u);
  EXPECT_EQ(report.all.succeeded, 3u);
  EXPECT_EQ(report.all.in_time, 2u) << "the second took longer than its deadline";
  EXPECT_EQ(report.all.not_sent, 1u);
  EXPECT_EQ(report.all.images, 3u);
  EXPECT_EQ(report.all.frames_dropped, 4u);
  EXPECT_EQ(report.seconds, 5) << "from the start to the last end";
  EXPECT_DOUBLE_EQ(report.PerSecond(2), 0.4);
  EXPECT_THAT(report.all.request.sorted(), ElementsAre(1, 2, 4)) << "of those that succeeded";
  ASSERT_THAT(report.failures, SizeIs(1));
  EXPECT_EQ(report.failures[0].code, "UNAVAILABLE");
  EXPECT_EQ(report.failures[0].reason, "QUEUE_FULL");
  EXPECT_EQ(report.failures[0].count, 1u);
}

TEST(Report, DividesRequestsByEntryPriorityAndTenant) {
  const Trace trace = AlternatingTrace(4);
  std::vector<CallOutcome> outcomes;
  for (size_t i = 0; i < 4; ++i) outcomes.push_back(Outcome(i, absl::Seconds(1)));
  const BenchReport report = MakeReport(trace, ResultOf(outcomes));
  const auto names = [](const std::vector<GroupReport>& groups) {
    std::vector<std::string> all;
    for (const GroupReport& group : groups) all.push_back(group.name);
    return all;
  };
  EXPECT_THAT(names(report.entries), ElementsAre("even", "odd"));
  EXPECT_THAT(names(report.priorities), ElementsAre("interactive", "normal"));
  EXPECT_THAT(names(report.tenants), ElementsAre("", "acme"));
  EXPECT_EQ(report.entries[0].requests, 2u);
  EXPECT_DOUBLE_EQ(report.Share(report.tenants[1]), 0.75);
  EXPECT_DOUBLE_EQ(report.Share(report.all), 1);
}

TEST(Report, LeavesOutTheWarmUpAndWhatWasCutOff) {
  CallOutcome cut = Outcome(3, absl::Seconds(1));
  cut.status = absl::CancelledError("interrupted");
  cut.cut_off = true;
  const Trace trace = AlternatingTrace(4);
  const BenchReport report =
      MakeReport(trace, ResultOf({Outcome(0, absl::Seconds(9)), Outcome(1, absl::Seconds(9)),
                                  Outcome(2, absl::Seconds(1)), cut},
                                 absl::Milliseconds(1500)));
  EXPECT_EQ(report.all.requests, 1u);
  EXPECT_EQ(report.cut_off, 1u);
  EXPECT_DOUBLE_EQ(report.seconds, 2.5) << "until the interruption";
  EXPECT_TRUE(report.failures.empty());
}

TEST(Report, MeasuresLatencyFromTheArrivalHoweverLateTheCallWas) {
  CallOutcome late = Outcome(0, absl::Seconds(2));
  late.sent = late.arrival + absl::Seconds(1);
  const BenchReport report = MakeReport(AlternatingTrace(2), ResultOf({late}));
  EXPECT_THAT(report.all.request.sorted(), ElementsAre(2));
  EXPECT_THAT(report.send_delay.sorted(), ElementsAre(1));
}

TEST(Report, NothingMeasuredIsNoDivisionByZero) {
  const BenchReport report = MakeReport(AlternatingTrace(2), ResultOf({}));
  EXPECT_EQ(report.PerSecond(1), 0);
  EXPECT_EQ(report.Share(report.all), 0);
  EXPECT_EQ(report.RowsPerEvaluation(), std::nullopt);
  EXPECT_EQ(ReportToJson(report)["all"]["request_seconds"]["samples"], 0);
}

TEST(Report, RowsPerEvaluationAreTheServers) {
  RunResult result = ResultOf({Outcome(0, absl::Seconds(1))});
  result.server = ServerTotals{.evaluations = 10, .rows = 45};
  const BenchReport report = MakeReport(AlternatingTrace(2), result);
  EXPECT_EQ(report.RowsPerEvaluation(), 4.5);
  EXPECT_EQ(ReportToJson(report)["server"]["rows_per_evaluation"], 4.5);
}

TEST(Report, CallsInFlightAreAStepFunction) {
  std::vector<std::pair<double, int>> corners;
  for (const InFlight& corner :
       InFlightOverTime(ResultOf({Outcome(0, absl::Seconds(2)), Outcome(1, absl::Seconds(2))}))) {
    corners.emplace_back(corner.seconds, corner.calls);
  }
  using testing::Pair;
  EXPECT_THAT(corners, ElementsAre(Pair(0, 0), Pair(0, 0), Pair(0, 1), Pair(1, 1), Pair(1, 2),
                                   Pair(2, 2), Pair(2, 1), Pair(3, 1), Pair(3, 0)));
}

TEST(Report, EveryOutcomeIsInTheJson) {
  CallOutcome failed = Outcome(1, absl::Seconds(1));
  failed.status = WithErrorReason(absl::ResourceExhaustedError("no"), "TENANT_LIMIT");
  const Trace trace = AlternatingTrace(3);
  const auto json =
      OutcomesToJson(trace, ResultOf({Outcome(0, absl::Seconds(2)),
                                      failed,
                                      {.request = 2, .arrival = kStart + absl::Seconds(2)}}));
  ASSERT_EQ(json.size(), 3u);
  EXPECT_EQ(json[0]["status"], "OK");
  EXPECT_EQ(json[0]["tenant"], "acme");
  EXPECT_EQ(json[0]["request_seconds"], 2);
  EXPECT_EQ(json[0]["queue_wait_seconds"], 0.1);
  EXPECT_EQ(json[1]["reason"], "TENANT_LIMIT");
  EXPECT_EQ(json[2]["sent"], false);
}

}  // namespace
}  // namespace denoise
