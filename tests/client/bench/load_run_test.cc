// Runs against a fake server. Nothing here depends on how fast anything is.
#include "client/bench/load_run.h"

#include <atomic>
#include <optional>
#include <set>
#include <thread>

#include "absl/time/clock.h"
#include "client/bench/comparison.h"
#include "client/bench/report.h"
#include "core/base/error_details.h"
#include "denoised/v1/activity.grpc.pb.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "tests/client/fake_server.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

// Requests that all arrive at once.
Trace Burst(size_t requests, int steps = 3) {
  Trace trace(requests);
  for (TracedRequest& traced : trace) {
    traced.load.entry = "burst";
    traced.load.request.set_model("models/shapes");
    traced.load.request.mutable_sampler()->set_steps(steps);
    traced.load.request.mutable_frames()->set_every_n_steps(1);
  }
  return trace;
}

class LoadRunTest : public testing::Test {
 protected:
  TestedServer& server() {
    if (!server_) {
      server_.emplace(ClientOptions{.address = fake_.address()}, "x-tenant", cancellation_);
    }
    return *server_;
  }

  Cancellation cancellation_;
  FakeServer fake_;
  std::optional<TestedServer> server_;
};

TEST_F(LoadRunTest, ReportsWhatTheServerSaid) {
  fake_.edit_event = [](v1::GenerateEvent& event) {
    if (event.has_finished()) event.mutable_finished()->set_frames_dropped(2);
    if (!event.has_accepted()) return;
    event.mutable_accepted()->mutable_guidance()->set_scale(2);
    event.mutable_accepted()->set_steps_requested(5);
  };
  const Trace trace = Burst(12);
  const RunResult result = RunTrace(trace, server(), {});
  ASSERT_THAT(result.outcomes, SizeIs(12));
  EXPECT_FALSE(result.interrupted);
  for (size_t i = 0; i < 12; ++i) {
    const CallOutcome& outcome = result.outcomes[i];
    EXPECT_EQ(outcome.request, i);
    ASSERT_TRUE(outcome.succeeded()) << outcome.status;
    EXPECT_EQ(outcome.queue_wait, absl::Milliseconds(5));
    ASSERT_TRUE(outcome.first_frame);
    EXPECT_LE(*outcome.first_frame, outcome.latency());
    EXPECT_EQ(outcome.images, 1);
    EXPECT_EQ(outcome.frames, 3);
    EXPECT_EQ(outcome.frames_dropped, 2);
    EXPECT_EQ(outcome.steps_left_out, 2);
    EXPECT_EQ(outcome.row_evaluations, 6) << "three evaluations of two rows";
  }
  const BenchReport report = MakeReport(trace, result);
  EXPECT_EQ(report.all.in_time, 12u);
  EXPECT_EQ(report.all.shortened, 12u);
  EXPECT_EQ(report.all.queue_wait.Quantile(0.5), 0.005);
}

TEST_F(LoadRunTest, DoesNotWaitForEarlierRequests) {
  fake_.holds_calls = true;
  constexpr size_t kRequests = 9;
  const Trace trace = Burst(kRequests);
  std::thread releaser([&] {
    EXPECT_TRUE(fake_.WaitForRequests(kRequests)) << "none has finished, yet all are sent";
    for (size_t i = 0; i < kRequests; ++i) fake_.LetOneCallFinish();
  });
  const RunResult result = RunTrace(trace, server(), {});
  releaser.join();
  EXPECT_EQ(fake_.most_open_calls(), static_cast<int>(kRequests));
  EXPECT_EQ(MakeReport(trace, result).all.succeeded, kRequests);
}

TEST_F(LoadRunTest, CountsWhatFindsTooManyInFlight) {
  fake_.holds_calls = true;
  const Trace trace = Burst(10);
  std::thread releaser([&] {
    EXPECT_TRUE(fake_.WaitForRequests(4));
    for (int i = 0; i < 4; ++i) fake_.LetOneCallFinish();
  });
  const RunResult result = RunTrace(trace, server(), {.max_in_flight = 4});
  releaser.join();
  EXPECT_THAT(result.outcomes, SizeIs(10));
  EXPECT_THAT(fake_.requests(), SizeIs(4));
  const BenchReport report = MakeReport(trace, result);
  EXPECT_EQ(report.all.not_sent, 6u);
  EXPECT_EQ(report.all.succeeded, 4u);
}

TEST_F(LoadRunTest, ARefusalIsAResult) {
  google::rpc::ErrorInfo info;
  info.set_reason("QUEUE_FULL");
  fake_.answer = StatusWithDetail(grpc::StatusCode::UNAVAILABLE, "the queue is full", info);
  const Trace trace = Burst(3);
  const BenchReport report = MakeReport(trace, RunTrace(trace, server(), {}));
  EXPECT_THAT(fake_.requests(), SizeIs(3)) << "nothing is tried again";
  EXPECT_EQ(report.all.succeeded, 0u);
  ASSERT_THAT(report.failures, SizeIs(1));
  EXPECT_EQ(report.failures[0].reason, "QUEUE_FULL");
  EXPECT_EQ(report.failures[0].count, 3u);
}

TEST_F(LoadRunTest, ATenantTravelsAsMetadata) {
  Trace trace = Burst(2);
  trace[1].load.tenant = "acme";
  RunTrace(trace, server(), {});
  EXPECT_THAT(fake_.metadata("x-tenant"), UnorderedElementsAre("", "acme"));
}

TEST_F(LoadRunTest, ADeadlineCountsFromTheArrival) {
  fake_.never_ends = true;
  Trace trace = Burst(2);
  for (TracedRequest& traced : trace) traced.load.deadline = absl::Milliseconds(50);
  const RunResult result = RunTrace(trace, server(), {});
  for (const CallOutcome& outcome : result.outcomes) {
    EXPECT_TRUE(absl::IsDeadlineExceeded(outcome.status)) << outcome.status;
    EXPECT_FALSE(outcome.cut_off);
  }
}

TEST_F(LoadRunTest, ASlowReaderGetsEverything) {
  Trace trace = Burst(2, /*steps=*/1);
  trace[0].load.pace.pause_seconds = 0.001;
  trace[1].load.pace.bytes_per_second = 1e6;
  for (const CallOutcome& outcome : RunTrace(trace, server(), {}).outcomes) {
    EXPECT_TRUE(outcome.succeeded()) << outcome.status;
    EXPECT_EQ(outcome.images, 1);
  }
}

TEST_F(LoadRunTest, CancellingEndsEveryCallAndKeepsWhatWasMeasured) {
  fake_.never_ends = true;
  Trace trace = Burst(5);
  trace.back().arrival_seconds = 3600;
  std::thread canceller([&] {
    EXPECT_TRUE(fake_.WaitForRequests(4));
    cancellation_.Cancel();
  });
  const RunResult result = RunTrace(trace, server(), {});
  canceller.join();
  EXPECT_TRUE(result.interrupted);
  ASSERT_THAT(result.outcomes, SizeIs(4)) << "the last never arrived";
  for (const CallOutcome& outcome : result.outcomes) EXPECT_TRUE(outcome.cut_off);
  EXPECT_TRUE(fake_.WaitForCancelledCalls(4));
  EXPECT_EQ(MakeReport(trace, result).cut_off, 4u);
}

TEST_F(LoadRunTest, CancellingEndsASlowReadersPause) {
  Trace trace = Burst(1);
  trace[0].load.pace.pause_seconds = 60;
  std::thread canceller([&] {
    EXPECT_TRUE(fake_.WaitForRequests(1));
    cancellation_.Cancel();
  });
  const absl::Time start = absl::Now();
  const RunResult result = RunTrace(trace, server(), {});
  canceller.join();
  EXPECT_TRUE(result.interrupted);
  EXPECT_LT(absl::Now() - start, absl::Seconds(59)) << "the pause was waited for";
}

TEST_F(LoadRunTest, AClosedLoopKeepsAsManyInFlightAsItIsTold) {
  const absl::StatusOr<double> capacity = MeasureCapacity(Burst(3), 4, server());
  ASSERT_TRUE(capacity.ok()) << capacity.status();
  EXPECT_GT(*capacity, 0);
  EXPECT_THAT(fake_.requests(), SizeIs(20));
  EXPECT_LE(fake_.most_open_calls(), 4);
}

// Counts the contexts that are destroyed while `pool` has a call in flight.
class ContextsInFlight final : public grpc::ClientContext::GlobalCallbacks {
 public:
  static ContextsInFlight& Get() {
    static ContextsInFlight* const callbacks = [] {
      auto* made = new ContextsInFlight;  // gRPC takes it once, and keeps it
      grpc::ClientContext::SetGlobalCallbacks(made);
      return made;
    }();
    return *callbacks;
  }

  void DefaultConstructor(grpc::ClientContext*) override {}
  void Destructor(grpc::ClientContext*) override {
    const CallPool* const observed = pool;
    if (observed && observed->in_flight() > 0) ++destroyed;
  }

  std::atomic<const CallPool*> pool = nullptr;
  std::atomic<int> destroyed = 0;
};

// gRPC aborts the process if the last call destroys its channel on one of gRPC's own threads, as it
// could once nobody waits for the call.
TEST_F(LoadRunTest, ACallIsInFlightUntilItHasLetGoOfItsConnection) {
  ContextsInFlight& contexts = ContextsInFlight::Get();
  CallPool& pool = server().pool();
  const Trace trace = Burst(1);
  contexts.pool = &pool;
  pool.Start(trace[0].load, 0, absl::Now());
  pool.WaitUntilAtMost(0);
  contexts.pool = nullptr;
  EXPECT_EQ(contexts.destroyed, 1);
}

// A call may get the memory of one that is just ending.
TEST_F(LoadRunTest, CallsThatStartWhileOthersEndAreNotMistakenForThem) {
  fake_.answer = RetryLaterStatus(absl::Seconds(1));
  constexpr size_t kCalls = 3000;
  CallPool& pool = server().pool();
  const Trace trace = Burst(1);
  for (size_t i = 0; i < kCalls; ++i) {
    pool.WaitUntilAtMost(3);
    pool.Start(trace[0].load, i, absl::Now());
  }
  pool.WaitUntilAtMost(0);
  std::set<size_t> ended;
  for (const CallOutcome& outcome : pool.Take()) ended.insert(outcome.request);
  EXPECT_THAT(ended, SizeIs(kCalls));
}

TEST_F(LoadRunTest, ACapacityOfNothingButFailuresIsUnknown) {
  fake_.answer = RetryLaterStatus(absl::Seconds(1));
  const absl::Status status = MeasureCapacity(Burst(1), 2, server()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("the queue is full"));
}

TEST_F(LoadRunTest, ARequestThatCannotSucceedIsFoundFirst) {
  fake_.answer = BadRequestStatus({{"sampler.steps", "must be at most 1000; is 2000"}});
  Trace trace = Burst(3);
  trace[1].load.entry = "other";
  EXPECT_TRUE(absl::IsInvalidArgument(TryEachEntry(trace, server())));
  fake_.answer = RetryLaterStatus(absl::Seconds(1));
  EXPECT_TRUE(TryEachEntry(trace, server()).ok()) << "a full server is a result";
  EXPECT_THAT(fake_.requests(), SizeIs(3)) << "one, and then one for each of two entries";
  fake_.Stop();
  EXPECT_TRUE(absl::IsUnavailable(TryEachEntry(trace, server())));
}

// Shows its totals to every watcher.
class FakeActivity : public v1::Activity::Service {
 public:
  grpc::Status WatchActivity(grpc::ServerContext* context, const v1::WatchActivityRequest*,
                             grpc::ServerWriter<v1::ActivitySnapshot>* writer) override {
    v1::ActivitySnapshot snapshot;
    const int call = ++calls_;
    for (int device = 0; device < 2; ++device) {
      snapshot.add_devices()->set_evaluations(10 * call);
      snapshot.mutable_devices(device)->set_rows(45 * call);
    }
    writer->Write(snapshot);
    WaitUntilCancelled(*context);
    return grpc::Status::CANCELLED;
  }

 private:
  std::atomic<int> calls_ = 0;
};

TEST(LoadRun, RowsPerEvaluationAreOfTheTimeInBetween) {
  FakeActivity activity;
  FakeServer fake({&activity});
  Cancellation cancellation;
  TestedServer server({.address = fake.address()}, "", cancellation);
  const Trace trace = Burst(2);
  const RunResult result = RunTrace(trace, server, {});
  ASSERT_TRUE(result.server);
  EXPECT_EQ(result.server->evaluations, 20) << "of two devices";
  EXPECT_EQ(MakeReport(trace, result).RowsPerEvaluation(), 4.5);
}

TEST(Comparison, RunsOneTraceAtEveryLoadOnEveryServer) {
  FakeServer fake;
  Cancellation cancellation;
  std::vector<std::string> started;
  std::vector<double> loads;
  std::optional<Trace> recorded;
  Trace trace = Burst(4);
  for (size_t i = 0; i < trace.size(); ++i) {
    trace[i].arrival_seconds = static_cast<double>(i) * 0.01;
  }
  const ComparisonCallbacks callbacks{
      .start = [&](const std::string& batching) -> absl::StatusOr<std::unique_ptr<TestedServer>> {
        started.push_back(batching);
        return std::make_unique<TestedServer>(ClientOptions{.address = fake.address()}, "",
                                              cancellation);
      },
      .on_trace =
          [&](const Trace& all, double) {
            recorded = all;
            return absl::OkStatus();
          },
      .on_run = [&](const std::string&, double load) { loads.push_back(load); },
      .on_result = [](const ComparedRun& run) { EXPECT_EQ(run.report.all.succeeded, 4u); }};
  const absl::StatusOr<Comparison> comparison =
      Compare(Workload(trace),
              {.batchings = {"evaluation", "none"}, .loads = {1, 2}, .capacity = 500}, callbacks);
  ASSERT_TRUE(comparison.ok()) << comparison.status();
  EXPECT_THAT(started, ElementsAre("evaluation", "none"));
  EXPECT_THAT(loads, ElementsAre(1, 2, 1, 2));
  ASSERT_TRUE(recorded);
  EXPECT_NEAR(MeanRate(*recorded), 500, 1e-6);
  ASSERT_THAT(comparison->runs, SizeIs(4));
  EXPECT_NEAR(comparison->runs[3].report.offered_rate, 1000, 1e-6);
  EXPECT_EQ(comparison->runs[3].batching, "none");
}

TEST(Comparison, KeepsTheRunsBeforeAnInterruption) {
  FakeServer fake;
  Cancellation cancellation;
  const ComparisonCallbacks callbacks{
      .start = [&](const std::string&) -> absl::StatusOr<std::unique_ptr<TestedServer>> {
        return std::make_unique<TestedServer>(ClientOptions{.address = fake.address()}, "",
                                              cancellation);
      },
      .on_trace = [](const Trace&, double) { return absl::OkStatus(); },
      .on_run = [](const std::string&, double) {},
      .on_result = [&](const ComparedRun&) { cancellation.Cancel(); }};
  Trace trace = Burst(2);
  trace[1].arrival_seconds = 0.01;
  const absl::StatusOr<Comparison> comparison =
      Compare(Workload(trace),
              {.batchings = {"evaluation", "none"}, .loads = {1, 2}, .capacity = 9}, callbacks);
  ASSERT_TRUE(comparison.ok()) << comparison.status();
  EXPECT_TRUE(comparison->interrupted);
  EXPECT_EQ(comparison->runs.front().report.all.succeeded, 2u);
}

}  // namespace
}  // namespace denoise
