#include "client/bench/trace.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "client/bench/workload.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Refusal(const absl::StatusOr<Trace>& trace) {
  EXPECT_TRUE(absl::IsInvalidArgument(trace.status()));
  return std::string(trace.status().message());
}

TEST(Trace, ArrivalsHaveTheRateAndTheSpreadOfAPoissonProcess) {
  constexpr size_t kRequests = 40'000;
  constexpr double kRate = 12.5;
  const Trace trace = GenerateTrace(DefaultMix(), kRate, {.requests = kRequests}, 3).value();
  ASSERT_EQ(trace.size(), kRequests);
  double before = 0, sum = 0, squares = 0;
  for (const TracedRequest& traced : trace) {
    const double gap = traced.arrival_seconds - before;
    ASSERT_GT(gap, 0);
    sum += gap;
    squares += gap * gap;
    before = traced.arrival_seconds;
  }
  const double mean = sum / kRequests;
  EXPECT_NEAR(mean * kRate, 1, 0.03);  // six standard deviations
  // The standard deviation of exponential gaps is their mean.
  EXPECT_NEAR(std::sqrt(squares / kRequests - mean * mean) / mean, 1, 0.05);
  EXPECT_NEAR(MeanRate(trace) / kRate, 1, 0.03);
}

TEST(Trace, TheSameSeedGivesTheSameTrace) {
  const auto text = [](uint64_t seed) {
    return TraceToText(GenerateTrace(DefaultMix(), 5, {.requests = 100}, seed).value());
  };
  EXPECT_EQ(text(1), text(1));
  EXPECT_NE(text(1), text(2));
}

// Not even the standard library's distributions are the same everywhere.
TEST(Trace, IsTheSameOnEveryMachine) {
  const Trace trace = GenerateTrace(DefaultMix(), 1, {.requests = 1}, 0).value();
  EXPECT_NEAR(trace[0].arrival_seconds, 0.174107, 1e-6);
  EXPECT_EQ(trace[0].load.entry, "50 steps");
}

TEST(Trace, AnotherRateOnlyMovesTheRequestsCloserTogether) {
  const Trace slow = GenerateTrace(DefaultMix(), 2, {.requests = 50}, 1).value();
  const Trace fast = SpeedUp(GenerateTrace(DefaultMix(), 6, {.requests = 50}, 1).value(), 1.0 / 3);
  for (size_t i = 0; i < slow.size(); ++i) {
    EXPECT_NEAR(slow[i].arrival_seconds, fast[i].arrival_seconds, 1e-9);
    EXPECT_EQ(slow[i].load.request.seed(), fast[i].load.request.seed());
  }
}

TEST(Trace, EndsAtItsFirstLimit) {
  const Mix mix = DefaultMix();
  EXPECT_EQ(GenerateTrace(mix, 10, {.requests = 7, .seconds = 100}, 1)->size(), 7u);
  const Trace timed = GenerateTrace(mix, 100, {.requests = 10'000, .seconds = 2}, 1).value();
  EXPECT_LT(timed.back().arrival_seconds, 2);
  EXPECT_NEAR(static_cast<double>(timed.size()), 200, 85);
  EXPECT_THAT(Refusal(GenerateTrace(mix, 10'000, {.seconds = 86'400}, 1)),
              HasSubstr("has more than 200000 requests"));
  EXPECT_THAT(Refusal(GenerateTrace(mix, 1e-6, {.seconds = 1}, 1)),
              HasSubstr("no request arrives within 1 s"));
}

Mix FullMix() {
  return ParseMix(R"([
    {"name": "a", "model": "m", "prompt": "a \"fox\"\n", "sampler": "unipc_3", "steps": 20,
     "guidance_scale": 7.5, "height": 512, "width": 768, "count": 3, "frames": 2,
     "priority": "batch", "allow_fewer_steps": true, "tenant": "acme", "deadline_seconds": 1.5,
     "slow_reader": {"bytes_per_second": 1000, "pause_seconds": 0.5}},
    {"class_labels": [1, 2, 3], "sampler": "ddim"}])")
      .value();
}

TEST(Trace, ReadsWhatItWrites) {
  const Trace trace = GenerateTrace(FullMix(), 1, {.requests = 40}, 1).value();
  const absl::StatusOr<Trace> again = ParseTrace(TraceToText(trace));
  ASSERT_TRUE(again.ok()) << again.status();
  ASSERT_EQ(again->size(), trace.size());
  for (size_t i = 0; i < trace.size(); ++i) {
    const LoadRequest& a = trace[i].load;
    const LoadRequest& b = (*again)[i].load;
    EXPECT_EQ(trace[i].arrival_seconds, (*again)[i].arrival_seconds);
    EXPECT_EQ(a.request.SerializeAsString(), b.request.SerializeAsString()) << i;
    EXPECT_EQ(a.entry, b.entry);
    EXPECT_EQ(a.tenant, b.tenant);
    EXPECT_EQ(a.deadline, b.deadline);
    EXPECT_EQ(a.pace, b.pace);
  }
}

TEST(Trace, RefusalsNameTheLineAndTheKey) {
  EXPECT_THAT(Refusal(ParseTrace("")), HasSubstr("has no requests"));
  EXPECT_THAT(Refusal(ParseTrace("{\"arrival_seconds\": 0}\n\n[]\n")), HasSubstr("line 3: "));
  EXPECT_THAT(Refusal(ParseTrace("{\"steps\": 3}")),
              AllOf(HasSubstr("line 1: "), HasSubstr("arrival_seconds: must be a number from 0")));
  EXPECT_THAT(Refusal(ParseTrace("{\"arrival_seconds\": 2}\n{\"arrival_seconds\": 1}")),
              AllOf(HasSubstr("line 2: "), HasSubstr("must be a number from 2")));
  EXPECT_THAT(Refusal(ParseTrace("{\"arrival_seconds\": 1, \"steps\": \"5\"}")),
              HasSubstr("line 1: steps: must be an integer"));
  EXPECT_THAT(Refusal(ParseTrace("{\"arrival_seconds\": 1, \"weight\": 1}")),
              HasSubstr("line 1: weight: is not a key of a line of a trace"));
  EXPECT_THAT(Refusal(ParseTrace("{\"arrival_seconds\": 1e300}")), HasSubstr("line 1: "));
  EXPECT_THAT(Refusal(ParseTrace("{\"arrival_seconds\": NaN}")), HasSubstr("line 1: "));
  EXPECT_THAT(Refusal(ParseTrace("\xff\xfe")), HasSubstr("line 1: "));
  EXPECT_THAT(Refusal(ParseTrace(absl::StrCat("{\"arrival_seconds\": 1, \"prompt\": \"",
                                              std::string(1 << 18, 'x'), "\"}"))),
              HasSubstr("line 1: "));
}

TEST(Trace, IsCutAtALimit) {
  const Trace trace = GenerateTrace(DefaultMix(), 1, {.requests = 20}, 1).value();
  EXPECT_EQ(LimitTrace(trace, {.requests = 5})->size(), 5u);
  EXPECT_EQ(LimitTrace(trace, {.seconds = trace[9].arrival_seconds})->size(), 9u);
  EXPECT_THAT(Refusal(LimitTrace(trace, {.seconds = 1e-9})), HasSubstr("has no request"));
}

denoised::v1::Model NamedModel(const std::string& name) {
  denoised::v1::Model model;
  model.set_name("models/" + (name.empty() ? "only" : name.substr(name.find('/') + 1)));
  return model;
}

TEST(Workload, LooksUpEachModelOnce) {
  Workload workload(
      ParseMix(R"([{"name": "a"}, {"name": "b", "model": "m"}, {"name": "c"}])").value(),
      {.requests = 100}, 1);
  std::vector<std::string> asked;
  const auto find = [&](const std::string& name) -> absl::StatusOr<denoised::v1::Model> {
    asked.push_back(name);
    return NamedModel(name);
  };
  ASSERT_TRUE(workload.Resolve(find).ok());
  ASSERT_TRUE(workload.Resolve(find).ok());
  EXPECT_THAT(asked, testing::ElementsAre("", "models/m"));
  const Trace trace = workload.AtRate(5).value();
  for (const TracedRequest& traced : trace) {
    EXPECT_EQ(traced.load.request.model(), traced.load.entry == "b" ? "models/m" : "models/only");
  }
}

TEST(Workload, ARecordedTraceArrivesAtTheRateThatIsAskedFor) {
  const Trace trace = GenerateTrace(DefaultMix(), 1, {.requests = 20}, 1).value();
  EXPECT_NEAR(MeanRate(Workload(trace).AtRate(8).value()), 8, 1e-9);
  Trace burst = trace;
  for (TracedRequest& traced : burst) traced.arrival_seconds = 0;
  EXPECT_THAT(Refusal(Workload(burst).AtRate(8)), HasSubstr("has no rate"));
}

TEST(Workload, ADefaultDeadlineIsForRequestsThatHaveNone) {
  Workload workload(
      ParseMix(R"([{"name": "a", "deadline_seconds": 1}, {"name": "b", "tenant": "acme"}])")
          .value(),
      {.requests = 50}, 1);
  EXPECT_TRUE(workload.HasTenants());
  EXPECT_FALSE(Workload(DefaultMix(), {}, 1).HasTenants());
  workload.SetDefaultDeadline(absl::Seconds(9));
  const Trace trace = workload.AtRate(5).value();
  for (const TracedRequest& traced : trace) {
    EXPECT_EQ(traced.load.deadline, absl::Seconds(traced.load.entry == "a" ? 1 : 9));
  }
}

}  // namespace
}  // namespace denoise
