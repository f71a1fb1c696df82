// The stream itself over a real connection, with a source that says what the test wants.
#include "server/rpc/event_stream.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "denoised/v1/generations.grpc.pb.h"
#include "server/grpc_listener.h"
#include "tests/support/fake_clock.h"
#include "tests/support/object_tally.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using Source = EventSource<v1::GenerateEvent>;
using ::testing::HasSubstr;

// What a test's source is asked, and what it answers.
struct Script {
  std::function<absl::Status()> start = [] { return absl::OkStatus(); };
  std::function<absl::StatusOr<Source::Outcome>()> next;
  std::function<std::optional<absl::Status>()> on_caller_gone = [] { return CallerGone(); };
  std::function<void()> on_end = [] {};

  Mutex mutex;
  CondVar changed;
  std::function<void()> wake;
  std::vector<absl::Status> ends;
  int asked = 0;  // how often Next was called, and
  int gone = 0;   // OnCallerGone

  void Count(int& calls) {
    const MutexLock lock(mutex);
    ++calls;
    changed.NotifyAll();
  }

  void WaitUntil(const int& calls, int count) {
    const MutexLock lock(mutex);
    while (calls < count) changed.Wait(mutex);
  }

  int asked_now() {
    const MutexLock lock(mutex);
    return asked;
  }

  absl::Status WaitForEnd() {
    const MutexLock lock(mutex);
    while (ends.empty()) changed.Wait(mutex);
    EXPECT_EQ(ends.size(), 1u) << "exactly one end";
    return ends.back();
  }
};

class ScriptedSource final : public Source {
 public:
  ScriptedSource(Script& script, const Call& call) : script_(script) {
    const MutexLock lock(script_.mutex);
    script_.wake = call.wake;
  }
  absl::Status Start() override { return script_.start(); }
  absl::StatusOr<Outcome> Next() override {
    script_.Count(script_.asked);
    return script_.next();
  }
  std::optional<absl::Status> OnCallerGone() override {
    script_.Count(script_.gone);
    return script_.on_caller_gone();
  }
  void OnEnd(const absl::Status& status) override {
    {
      const MutexLock lock(script_.mutex);
      script_.ends.push_back(status);
      script_.changed.NotifyAll();
    }
    script_.on_end();
  }

 private:
  Script& script_;
};

class ScriptedService final : public v1::Generations::CallbackService {
 public:
  ScriptedService(const CallEnvironment& environment, Script& script)
      : environment_(environment), script_(script) {}

  grpc::ServerWriteReactor<v1::GenerateEvent>* WatchGeneration(
      grpc::CallbackServerContext* context, const v1::WatchGenerationRequest*) override {
    return new EventStream<v1::GenerateEvent>(environment_, context, [this](const Call& call) {
      return std::make_unique<ScriptedSource>(script_, call);
    });
  }

 private:
  const CallEnvironment environment_;
  Script& script_;
};

v1::GenerateEvent Event(int64_t sequence, size_t bytes = 0) {
  v1::GenerateEvent event;
  event.set_sequence(sequence);
  event.mutable_image()->mutable_image()->set_data(std::string(bytes, 'x'));
  return event;
}

class EventStreamTest : public testing::Test {
 protected:
  static constexpr absl::Duration kWriteTimeMax = absl::Seconds(60);

  ~EventStreamTest() override { listener_.server->Shutdown(); }

  static ServerFlags Flags() {
    ServerFlags flags;
    flags.listen = "127.0.0.1:0";
    return flags;
  }

  // Reads to the end.
  grpc::Status Read(grpc::ClientReader<v1::GenerateEvent>& reader) {
    for (v1::GenerateEvent event; reader.Read(&event);) sequences_.push_back(event.sequence());
    return reader.Finish();
  }

  Script script_;
  FakeClock clock_;
  LiveCalls live_calls_{&clock_};
  ObjectTally streams_;
  WorkPool pool_{2};
  CallWatch call_watch_{kWriteTimeMax / 10, &clock_};
  ScriptedService service_{{.pool = &pool_,
                            .clock = &clock_,
                            .live_calls = &live_calls_,
                            .call_watch = &call_watch_,
                            .write_time_max = kWriteTimeMax,
                            .counts = {.streams = &streams_}},
                           script_};
  MemoryGuard memory_{ProcessMemory(/*flag_bytes=*/0)};
  GrpcListener listener_ =
      *Listen(Flags(), {{v1::Generations::service_full_name(), &service_}}, &memory_, nullptr);
  grpc::ClientContext context_;
  std::unique_ptr<v1::Generations::Stub> stub_ = [this] {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // windows that do not grow
    return v1::Generations::NewStub(grpc::CreateCustomChannel(
        listener_.address, grpc::InsecureChannelCredentials(), arguments));
  }();
  std::vector<int64_t> sequences_;
};

TEST_F(EventStreamTest, WritesWhatItsSourceSaysUntilThatIsOver) {
  int64_t next = 0;
  script_.next = [&]() -> absl::StatusOr<Source::Outcome> {
    if (next == 100) return Source::Over();
    if (++next % 10 == 0) return Source::Again();
    return Event(next);
  };
  const auto reader = stub_->WatchGeneration(&context_, {});
  EXPECT_TRUE(Read(*reader).ok());
  ASSERT_EQ(sequences_.size(), 90u);
  EXPECT_TRUE(std::is_sorted(sequences_.begin(), sequences_.end()));
  EXPECT_TRUE(script_.WaitForEnd().ok());
  live_calls_.WaitUntilNone(absl::InfiniteFuture());
  EXPECT_EQ(streams_.created, 1);
  EXPECT_EQ(streams_.destroyed, 1);
}

TEST_F(EventStreamTest, IsWokenFromAnotherThreadAndMissesNoWake) {
  std::atomic<int64_t> available = 0;
  int64_t next = 0;
  script_.next = [&]() -> absl::StatusOr<Source::Outcome> {
    if (next == 1000) return Source::Over();
    if (next == available) return Source::Wait();
    return Event(next++);
  };
  const auto reader = stub_->WatchGeneration(&context_, {});
  std::thread writer([&] {
    script_.WaitUntil(script_.asked, 1);
    for (int i = 0; i < 1000; ++i) {
      ++available;
      script_.wake();
    }
  });
  EXPECT_TRUE(Read(*reader).ok());
  writer.join();
  EXPECT_EQ(sequences_.size(), 1000u);
  script_.wake();  // may come when the call is long over
}

TEST_F(EventStreamTest, RefusalsAndErrorsEndTheCall) {
  script_.start = [] { return absl::UnavailableError("full"); };
  const auto refused = stub_->WatchGeneration(&context_, {});
  EXPECT_EQ(Read(*refused).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(script_.asked_now(), 0);
  EXPECT_TRUE(context_.GetServerInitialMetadata().empty());
  EXPECT_EQ(script_.WaitForEnd().code(), absl::StatusCode::kUnavailable);

  {
    const MutexLock lock(script_.mutex);  // which the next source takes first
    script_.ends.clear();
    script_.start = [] { return absl::OkStatus(); };
    script_.next = []() -> absl::StatusOr<Source::Outcome> { throw std::runtime_error("inside"); };
  }
  grpc::ClientContext context;
  const auto failed = stub_->WatchGeneration(&context, {});
  const grpc::Status status = Read(*failed);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_THAT(status.error_message(), ::testing::Not(HasSubstr("inside")));
  EXPECT_THAT(std::string(script_.WaitForEnd().message()), HasSubstr("inside"));
}

TEST_F(EventStreamTest, WhatItsSourceThrowsOnceTheCallerHasGoneEndsTheCall) {
  script_.next = []() -> absl::StatusOr<Source::Outcome> { return Source::Wait(); };
  script_.on_caller_gone = []() -> std::optional<absl::Status> {
    throw std::runtime_error("inside");
  };
  const auto reader = stub_->WatchGeneration(&context_, {});
  script_.WaitUntil(script_.asked, 1);
  context_.TryCancel();
  EXPECT_THAT(std::string(script_.WaitForEnd().message()), HasSubstr("inside"));
  live_calls_.WaitUntilNone(absl::InfiniteFuture());
  EXPECT_EQ(Read(*reader).error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(EventStreamTest, WhatItsSourceThrowsAtTheEndEndsTheCall) {
  script_.next = []() -> absl::StatusOr<Source::Outcome> { return Source::Over(); };
  script_.on_end = [] { throw std::runtime_error("inside"); };
  const auto reader = stub_->WatchGeneration(&context_, {});
  EXPECT_EQ(Read(*reader).error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_TRUE(script_.WaitForEnd().ok());
  live_calls_.WaitUntilNone(absl::InfiniteFuture());
}

TEST_F(EventStreamTest, WhatItsSourceThrowsAtTheStartEndsTheCall) {
  script_.start = []() -> absl::Status { throw std::runtime_error("inside"); };
  const auto reader = stub_->WatchGeneration(&context_, {});
  EXPECT_EQ(Read(*reader).error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_THAT(std::string(script_.WaitForEnd().message()), HasSubstr("inside"));
  live_calls_.WaitUntilNone(absl::InfiniteFuture());
}

TEST_F(EventStreamTest, IsRefusedWhileTheServerDrains) {
  live_calls_.StartDraining();
  const auto reader = stub_->WatchGeneration(&context_, {});
  EXPECT_EQ(Read(*reader).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(absl::IsUnavailable(script_.WaitForEnd()));
}

TEST_F(EventStreamTest, ACallerWhoLeavesWaitsForWhatItsSourceWaitsFor) {
  std::atomic<bool> may_end = false;
  script_.next = []() -> absl::StatusOr<Source::Outcome> { return Source::Wait(); };
  script_.on_caller_gone = [&]() -> std::optional<absl::Status> {
    if (!may_end) return std::nullopt;
    return CallerGone();
  };
  const auto reader = stub_->WatchGeneration(&context_, {});
  script_.WaitUntil(script_.asked, 1);
  context_.TryCancel();
  script_.WaitUntil(script_.gone, 1);
  script_.wake();
  script_.WaitUntil(script_.gone, 2);
  {
    const MutexLock lock(script_.mutex);
    EXPECT_TRUE(script_.ends.empty());
  }
  EXPECT_EQ(streams_.destroyed, 0);
  may_end = true;
  script_.wake();
  EXPECT_TRUE(absl::IsCancelled(script_.WaitForEnd()));
  EXPECT_EQ(Read(*reader).error_code(), grpc::StatusCode::CANCELLED);
  live_calls_.WaitUntilNone(absl::InfiniteFuture());
  EXPECT_EQ(streams_.destroyed, 1);
}

// Nothing is made for a reader who takes nothing.
TEST_F(EventStreamTest, AReaderWhoTakesNothingIsGivenUp) {
  script_.next = []() -> absl::StatusOr<Source::Outcome> { return Event(0, 100'000); };
  const auto reader = stub_->WatchGeneration(&context_, {});
  auto end = std::async(std::launch::async, [&] { return script_.WaitForEnd(); });
  clock_.AdvanceUntilReady(end, kWriteTimeMax / 100);
  EXPECT_THAT(std::string(end.get().message()), HasSubstr("taken nothing for 1m"));
  EXPECT_LT(script_.asked_now(), 200) << "it was asked for more than the connection holds";
  EXPECT_EQ(Read(*reader).error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(EventStreamTest, ACancellationPastTheDeadlineIsTheDeadlines) {
  script_.next = []() -> absl::StatusOr<Source::Outcome> { return Source::Wait(); };
  // Only by the stream's clock: gRPC's own is the real one.
  const auto deadline = std::chrono::system_clock::now() + std::chrono::hours(1);
  context_.set_deadline(deadline);
  clock_.Advance(absl::FromChrono(deadline) + absl::Hours(1) - clock_.Now());
  const auto reader = stub_->WatchGeneration(&context_, {});
  script_.WaitUntil(script_.asked, 1);
  context_.TryCancel();
  EXPECT_TRUE(absl::IsDeadlineExceeded(script_.WaitForEnd()));
  Read(*reader);
}

TEST(WatchedCall, OnlyAWaitThatTakesLongerThanAllowedIsAStall) {
  FakeClock clock;
  grpc::CallbackServerContext context;  // has no call: to cancel it would crash
  WatchedCall call(&context, &clock, absl::Seconds(60));
  clock.Advance(absl::Hours(1));  // in the queue, say
  call.CancelIfStalled();
  call.BeginWait();
  clock.Advance(absl::Seconds(60));
  call.CancelIfStalled();
  call.EndWait();
  clock.Advance(absl::Hours(1));
  call.CancelIfStalled();
  EXPECT_FALSE(call.stalled());
}

TEST(WithDeadline, ACancellationJustBeforeTheDeadlineIsTheDeadlines) {
  const absl::Time deadline = absl::UnixEpoch() + absl::Seconds(5);
  const auto code_at = [&](absl::Duration before, const absl::Status& status) {
    return WithDeadline(status, deadline, deadline - before).code();
  };
  EXPECT_EQ(code_at(absl::Milliseconds(5), CallerGone()), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(code_at(absl::Seconds(1), CallerGone()), absl::StatusCode::kCancelled);
  EXPECT_EQ(code_at(absl::ZeroDuration(), absl::InternalError("")), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace denoise
