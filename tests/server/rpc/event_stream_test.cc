#include "server/rpc/event_stream.h"

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

using denoised::v1::GenerateEvent;
using ::testing::ElementsAre;

constexpr absl::Duration kPatience = absl::Seconds(30);

// A reader that takes events when the test says so.
class TestWriter final : public EventStream::Writer {
 public:
  void WriteEvent(GenerateEvent event) override {
    MutexLock lock(mutex_);
    EXPECT_FALSE(writing_) << "one event at a time";
    EXPECT_FALSE(ended_) << "nothing after the end";
    writing_ = true;
    events_.push_back(std::move(event));
    changed_.NotifyAll();
  }

  void EndStream(const absl::Status& status, const StreamTotals& totals) override {
    MutexLock lock(mutex_);
    EXPECT_FALSE(writing_) << "not while an event is on its way";
    EXPECT_FALSE(ended_) << "exactly once";
    ended_ = true;
    status_ = status;
    totals_ = totals;
    changed_.NotifyAll();
  }

  void BreakOff() override { ++broken_off_; }
  int broken_off() const { return broken_off_; }

  // Waits for the next event or the end, and takes it; whether it was an event.
  bool Take() {
    MutexLock lock(mutex_);
    const absl::Time deadline = Clock::Real().Now() + kPatience;
    while (!writing_ && !ended_) {
      if (changed_.WaitUntil(mutex_, deadline)) {
        ADD_FAILURE() << "neither an event nor the end came";
        return false;
      }
    }
    return std::exchange(writing_, false);
  }

  void TakeAll(EventStream& stream) {
    while (Take()) stream.OnWritten(true);
  }

  std::vector<GenerateEvent> events() const {
    MutexLock lock(mutex_);
    return events_;
  }
  bool ended() const {
    MutexLock lock(mutex_);
    return ended_;
  }
  absl::Status status() const {
    MutexLock lock(mutex_);
    return status_;
  }
  StreamTotals totals() const {
    MutexLock lock(mutex_);
    return totals_;
  }

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  std::vector<GenerateEvent> events_;
  bool writing_ = false;
  std::atomic<int> broken_off_ = 0;
  bool ended_ = false;
  absl::Status status_;
  StreamTotals totals_;
};

std::string Describe(const GenerateEvent& event) {
  switch (event.event_case()) {
    case GenerateEvent::kAccepted:
      return "accepted";
    case GenerateEvent::kQueued:
      return "queued";
    case GenerateEvent::kStarted:
      return "started";
    case GenerateEvent::kProgress:
      return "progress";
    case GenerateEvent::kFrame:
      return "frame " + std::to_string(event.frame().step());
    case GenerateEvent::kImage:
      return "image " + std::to_string(event.image().image_index());
    case GenerateEvent::kFinished:
      return "finished";
    default:
      return "nothing";
  }
}

std::vector<std::string> Describe(const std::vector<GenerateEvent>& events) {
  std::vector<std::string> names;
  for (const GenerateEvent& event : events) names.push_back(Describe(event));
  return names;
}

class EventStreamTest : public testing::Test {
 protected:
  std::shared_ptr<EventStream> MakeStream(EventStream::Options options = {}) {
    if (options.frame_bytes_max == 0) options.frame_bytes_max = 1 << 20;
    options.arrival = clock_.Now();
    auto stream = std::make_shared<EventStream>(options, &writer_, &pool_, &clock_, &telemetry_);
    stream->Accept({});
    return stream;
  }

  void Open(EventStream& stream) {
    stream.Open([this] { ++cancels_; });
  }

  static FrameUpdate Frame(int step, int size = 8) {
    return {.image_index = 0,
            .step = step,
            .timestep = 100.5,
            .kind = FrameKind::kX0,
            .sample = at::zeros({3, size, size})};
  }

  static ImageUpdate Image(int index) {
    return {.image_index = index, .seed = 7, .sample = at::full({3, 8, 8}, 0.5)};
  }

  FakeClock clock_;
  Telemetry telemetry_{"test", {}};
  TestWriter writer_;
  std::atomic<int> cancels_ = 0;
  WorkPool pool_{2};
};

TEST_F(EventStreamTest, TellsTheWholeStoryInOrder) {
  auto stream = MakeStream({.steps_total = 2});
  stream->OnQueued(0);
  Open(*stream);
  stream->OnStarted(absl::Seconds(2));
  stream->OnStep(0, 1);
  stream->OnFrame(Frame(1));
  stream->OnStep(0, 2);
  stream->OnFrame(Frame(2));
  stream->OnImage(Image(0));
  clock_.Advance(absl::Milliseconds(1500));
  stream->OnFinished(absl::OkStatus());
  writer_.TakeAll(*stream);

  const auto events = writer_.events();
  EXPECT_THAT(Describe(events), ElementsAre("accepted", "queued", "started", "progress", "frame 1",
                                            "frame 2", "image 0", "finished"));
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i].sequence(), static_cast<int64_t>(i));
    EXPECT_GT(events[i].time().seconds() + events[i].time().nanos(), 0);
  }
  EXPECT_EQ(events[2].started().queue_wait().seconds(), 2);
  EXPECT_EQ(events[3].progress().steps_total(), 2);
  EXPECT_EQ(events[4].frame().timestep(), 100.5);
  EXPECT_EQ(events[4].frame().kind(), denoised::v1::FRAME_KIND_X0);
  EXPECT_EQ(events[6].image().seed(), 7u);
  EXPECT_EQ(events[6].image().image().data().substr(1, 3), "PNG");
  EXPECT_EQ(events[7].finished().images(), 1);
  EXPECT_EQ(events[7].finished().frames_sent(), 2);
  EXPECT_EQ(events[7].finished().elapsed().seconds(), 1);
  EXPECT_EQ(events[7].finished().elapsed().nanos(), 500'000'000);
  EXPECT_TRUE(writer_.status().ok());
  EXPECT_EQ(cancels_, 0);
}

TEST_F(EventStreamTest, SaysNothingBeforeItIsOpened) {
  auto stream = MakeStream();
  stream->OnStarted(absl::ZeroDuration());
  stream->OnFinished(absl::OkStatus());
  EXPECT_TRUE(writer_.events().empty());
  EXPECT_FALSE(writer_.ended());
  Open(*stream);
  writer_.TakeAll(*stream);
  EXPECT_THAT(Describe(writer_.events()), ElementsAre("accepted", "started", "finished"));
}

TEST_F(EventStreamTest, ASlowReaderGetsTheLatestFramesAndEveryImage) {
  auto stream = MakeStream({.outbox = {.frames = 2}});
  Open(*stream);
  ASSERT_TRUE(writer_.Take());  // accepted is on its way, and takes its time
  for (int step = 1; step <= 10; ++step) stream->OnFrame(Frame(step));
  stream->OnImage(Image(0));
  stream->OnImage(Image(1));
  stream->OnFinished(absl::OkStatus());
  stream->OnWritten(true);
  writer_.TakeAll(*stream);
  EXPECT_THAT(Describe(writer_.events()),
              ElementsAre("accepted", "frame 9", "frame 10", "image 0", "image 1", "finished"));
  EXPECT_EQ(writer_.events().back().finished().frames_dropped(), 8);
  EXPECT_EQ(writer_.totals().frames_dropped, 8);
}

TEST_F(EventStreamTest, ProgressIsAsItStandsWhenItIsWritten) {
  auto stream = MakeStream({.steps_total = 50});
  Open(*stream);
  ASSERT_TRUE(writer_.Take());
  for (int step = 1; step <= 30; ++step) stream->OnStep(0, step);
  stream->OnWritten(true);
  ASSERT_TRUE(writer_.Take());
  EXPECT_EQ(writer_.events().back().progress().steps_done(), 30);
  stream->OnFinished(absl::OkStatus());
  stream->OnWritten(true);
  writer_.TakeAll(*stream);
}

TEST_F(EventStreamTest, FramesOverTheSizeLimitAreLeftOutAndCounted) {
  auto stream = MakeStream(
      {.frame_encoding = denoised::v1::ENCODING_RAW_FLOAT32, .frame_bytes_max = 3 * 8 * 8 * 4});
  Open(*stream);
  stream->OnFrame(Frame(1, 8));  // exactly the limit
  stream->OnFrame(Frame(2, 9));
  stream->OnFrame(Frame(3, 8));
  stream->OnFinished(absl::OkStatus());
  writer_.TakeAll(*stream);
  EXPECT_THAT(Describe(writer_.events()),
              ElementsAre("accepted", "frame 1", "frame 3", "finished"));
  EXPECT_EQ(writer_.events().back().finished().frames_sent(), 2);
  EXPECT_EQ(writer_.events().back().finished().frames_dropped(), 1);
}

TEST_F(EventStreamTest, AFailureEndsWithItsStatusAfterWhatWasReady) {
  auto stream = MakeStream();
  Open(*stream);
  stream->OnImage(Image(0));
  stream->OnFinished(absl::InternalError("the output is not finite"));
  writer_.TakeAll(*stream);
  EXPECT_THAT(Describe(writer_.events()), ElementsAre("accepted", "image 0"));
  EXPECT_EQ(writer_.status().code(), absl::StatusCode::kInternal);
}

TEST_F(EventStreamTest, ACallerWhoLeavesCancelsOnceAndTheStreamEndsWhenTheEngineLetsGo) {
  auto stream = MakeStream();
  Open(*stream);
  ASSERT_TRUE(writer_.Take());
  stream->OnImage(Image(0));
  stream->Cancel();
  stream->OnWritten(false);  // the write fails, too
  EXPECT_EQ(cancels_, 1);
  stream->OnFrame(Frame(1));
  EXPECT_FALSE(writer_.ended());
  stream->OnFinished(absl::CancelledError("cancelled"));
  EXPECT_FALSE(writer_.Take());
  EXPECT_THAT(Describe(writer_.events()), ElementsAre("accepted"));
  EXPECT_EQ(writer_.status().code(), absl::StatusCode::kCancelled);
}

TEST_F(EventStreamTest, ACallerWhoLeftBeforeTheEngineAnsweredIsCancelledAtOnce) {
  auto stream = MakeStream();
  stream->Cancel();
  EXPECT_EQ(cancels_, 0);
  Open(*stream);
  EXPECT_EQ(cancels_, 1);
  stream->OnFinished(absl::CancelledError("cancelled"));
  EXPECT_FALSE(writer_.Take());
}

TEST_F(EventStreamTest, AWriteThatFailsAfterTheEngineFinishedIsACancellation) {
  auto stream = MakeStream();
  Open(*stream);
  stream->OnImage(Image(0));
  stream->OnFinished(absl::OkStatus());
  ASSERT_TRUE(writer_.Take());
  stream->OnWritten(false);
  EXPECT_FALSE(writer_.Take());
  EXPECT_EQ(writer_.status().code(), absl::StatusCode::kCancelled);
}

TEST_F(EventStreamTest, ACancellationPastTheDeadlineIsTheDeadlines) {
  auto stream = MakeStream({.deadline = clock_.Now() + absl::Seconds(5)});
  Open(*stream);
  ASSERT_TRUE(writer_.Take());
  clock_.Advance(absl::Seconds(5));
  stream->Cancel();
  stream->OnWritten(false);
  stream->OnFinished(absl::CancelledError("cancelled"));
  EXPECT_FALSE(writer_.Take());
  EXPECT_EQ(writer_.status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(EventStreamTest, APictureThatCannotBeEncodedFailsTheRequestAndFreesItsRows) {
  auto stream = MakeStream();
  Open(*stream);
  ASSERT_TRUE(writer_.Take());
  stream->OnFrame({.image_index = 0,
                   .step = 1,
                   .timestep = 0,
                   .kind = FrameKind::kX0,
                   .sample = at::zeros({7, 8, 8})});  // no picture has 7 channels
  stream->OnWritten(true);
  while (cancels_ == 0) std::this_thread::yield();
  stream->OnFinished(absl::CancelledError("cancelled"));
  EXPECT_FALSE(writer_.Take());
  EXPECT_EQ(writer_.status().code(), absl::StatusCode::kInternal);
}

TEST_F(EventStreamTest, AnExceptionOnThePoolFailsItsRequestOnly) {
  auto stream = MakeStream();
  Open(*stream);
  ASSERT_TRUE(writer_.Take());
  stream->OnImage({.image_index = 0, .seed = 7, .sample = at::zeros({3, 8, 8}, at::kDouble)});
  stream->OnWritten(true);
  while (cancels_ == 0) std::this_thread::yield();
  stream->OnFinished(absl::CancelledError("cancelled"));
  EXPECT_FALSE(writer_.Take());
  EXPECT_EQ(writer_.status().code(), absl::StatusCode::kInternal);
}

TEST_F(EventStreamTest, AReaderWhoTakesNothingIsGivenUpAndHoldsNothing) {
  auto stream = MakeStream({.write_time_max = absl::Seconds(60)});
  Open(*stream);
  ASSERT_TRUE(writer_.Take());
  auto image = Image(0);
  const at::Tensor sample = image.sample;
  stream->OnImage(std::move(image));
  stream->OnFinished(absl::OkStatus());
  clock_.Advance(absl::Seconds(60));
  stream->CancelIfStalled();
  EXPECT_EQ(writer_.broken_off(), 0) << "in time";

  clock_.Advance(absl::Milliseconds(1));
  stream->CancelIfStalled();
  EXPECT_EQ(writer_.broken_off(), 1);
  EXPECT_EQ(sample.use_count(), 1u) << "the image waits for a reader who is given up";
  EXPECT_EQ(cancels_, 1);
  stream->OnWritten(false);
  EXPECT_FALSE(writer_.Take());
  EXPECT_EQ(writer_.status().code(), absl::StatusCode::kCancelled);
}

TEST_F(EventStreamTest, AReaderWithNothingToTakeIsNotGivenUp) {
  auto stream = MakeStream({.write_time_max = absl::Seconds(60)});
  Open(*stream);
  ASSERT_TRUE(writer_.Take());
  stream->OnWritten(true);
  clock_.Advance(absl::Hours(1));  // in the queue, say
  stream->CancelIfStalled();
  stream->OnImage(Image(0));
  stream->OnFinished(absl::OkStatus());
  writer_.TakeAll(*stream);
  EXPECT_TRUE(writer_.status().ok());
}

TEST_F(EventStreamTest, ACancellationJustBeforeTheDeadlineIsTheDeadlines) {
  auto stream = MakeStream({.deadline = clock_.Now() + absl::Seconds(5)});
  Open(*stream);
  ASSERT_TRUE(writer_.Take());
  clock_.Advance(absl::Milliseconds(4995));
  stream->Cancel();
  stream->OnWritten(false);
  stream->OnFinished(absl::CancelledError("cancelled"));
  EXPECT_FALSE(writer_.Take());
  EXPECT_EQ(writer_.status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(EventStreamTest, ManyThreadsMayTalkWhileAReaderReads) {
  auto stream = MakeStream({.steps_total = 200});
  Open(*stream);
  std::thread reader([&] { writer_.TakeAll(*stream); });
  stream->OnStarted(absl::ZeroDuration());
  for (int step = 1; step <= 200; ++step) {
    stream->OnStep(0, step);
    stream->OnFrame(Frame(step));
    clock_.Advance(absl::Milliseconds(7));
  }
  stream->OnImage(Image(0));
  stream->OnFinished(absl::OkStatus());
  reader.join();

  const auto events = writer_.events();
  int last_step = 0;
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i].sequence(), static_cast<int64_t>(i));
    if (events[i].has_frame()) {
      EXPECT_GT(events[i].frame().step(), last_step);
      last_step = events[i].frame().step();
    }
  }
  const auto& finished = events.back().finished();
  EXPECT_EQ(finished.frames_sent() + finished.frames_dropped(), 200);
  EXPECT_EQ(finished.images(), 1);
}

}  // namespace
}  // namespace denoise
