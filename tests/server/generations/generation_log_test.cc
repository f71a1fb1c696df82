#include "server/generations/generation_log.h"

#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "core/base/error_details.h"
#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using Reader = std::unique_ptr<GenerationLog::Reader>;

constexpr int64_t kFrameBytes = 3 * 4 * 4 * sizeof(float);

FrameUpdate Frame(int step, int image_index = 0, FrameKind kind = FrameKind::kX0) {
  return {.image_index = image_index,
          .step = step,
          .timestep = 0,
          .kind = kind,
          .sample = at::zeros({3, 4, 4})};
}

ImageUpdate Image(int index) {
  return {.image_index = index, .seed = 0, .sample = at::zeros({3, 4, 4})};
}

std::string Describe(const GenerationLog::Event& event) {
  if (const auto* frame = std::get_if<FrameUpdate>(&event.what)) {
    return "frame " + std::to_string(frame->step);
  }
  if (const auto* image = std::get_if<ImageUpdate>(&event.what)) {
    return "image " + std::to_string(image->image_index);
  }
  if (const auto* queued = std::get_if<QueuePlace>(&event.what)) {
    return "queued " + std::to_string(queued->position);
  }
  if (const auto* progress = std::get_if<GenerationLog::Progress>(&event.what)) {
    return "progress " + std::to_string(progress->steps_done);
  }
  if (std::holds_alternative<GenerationLog::Started>(event.what)) return "started";
  if (std::holds_alternative<GenerationLog::Handover>(event.what)) return "handover";
  if (std::holds_alternative<GenerationLog::End>(event.what)) return "end";
  return "accepted";
}

// What the reader has not read yet.
std::vector<std::string> Rest(GenerationLog::Reader& reader) {
  std::vector<std::string> contents;
  while (const auto event = reader.Next()) contents.push_back(Describe(*event));
  return contents;
}

class GenerationLogTest : public testing::Test {
 protected:
  std::unique_ptr<GenerationLog> MakeLog(const GenerationLog::Limits& limits = {}) {
    return std::make_unique<GenerationLog>(GenerationLog::Options{
        .steps_total = 50, .arrival = clock_.Now(), .clock = &clock_, .limits = limits});
  }

  // What a reader from the beginning reads after `accepted`.
  static std::vector<std::string> Contents(GenerationLog& log) {
    const Reader reader = log.Attach(0, {});
    return Rest(*reader);
  }

  FakeClock clock_;
};

class LostEvaluationsTest : public GenerationLogTest {
 protected:
  // Of two images that take ten evaluations each.
  LostEvaluationsTest() {
    denoised::v1::Accepted accepted;
    accepted.set_count(2);
    accepted.set_evaluations(10);
    log_ = std::make_unique<GenerationLog>(
        GenerationLog::Options{.accepted = accepted,
                               .arrival = clock_.Now(),
                               .clock = &clock_,
                               .limits = {.handover_bytes = 1 << 20},
                               .on_ending = [this](const auto& end) { end_ = end; }});
  }

  void Evaluate(int image, int times) {
    for (int i = 0; i < times; ++i) log_->OnEvaluated(image, /*rows=*/2);
  }

  std::unique_ptr<GenerationLog> log_;
  GenerationLog::End end_;
};

TEST_F(LostEvaluationsTest, NothingIsLostOfWhatSucceeds) {
  Evaluate(0, 10);
  Evaluate(1, 10);
  EXPECT_EQ(log_->snapshot().evaluations, 20);
  EXPECT_EQ(log_->snapshot().rows, 40);
  log_->OnImage(Image(0));
  log_->OnImage(Image(1));
  log_->OnFinished(absl::OkStatus());
  EXPECT_EQ(end_.evaluations_wasted, 0);
  EXPECT_EQ(end_.evaluations_cancelled, 0);
}

TEST_F(LostEvaluationsTest, AnImageThatIsNotFinishedWasMadeForNothing) {
  Evaluate(0, 10);
  log_->OnImage(Image(0));
  Evaluate(1, 3);
  log_->OnFinished(absl::CancelledError());
  EXPECT_EQ(end_.evaluations_wasted, 3);
  EXPECT_EQ(end_.evaluations_cancelled, 7);
}

TEST_F(LostEvaluationsTest, WhatAnotherServerContinuesIsNotLost) {
  Evaluate(0, 4);
  log_->OnHandover({});
  log_->OnFinished(absl::UnavailableError("draining"));
  EXPECT_EQ(end_.evaluations_wasted, 0);
  EXPECT_EQ(end_.evaluations_cancelled, 0);
}

TEST_F(GenerationLogTest, SaysHowLongItHasWaitedOnceItHasStarted) {
  const auto log = MakeLog();
  EXPECT_EQ(log->snapshot().queue_wait, std::nullopt);
  log->OnStarted(absl::Seconds(3));
  EXPECT_EQ(log->snapshot().queue_wait, absl::Seconds(3));
}

TEST_F(GenerationLogTest, KeepsTheOrderOfWhatHappened) {
  const auto log = MakeLog();
  log->OnQueued({});
  log->OnStarted(absl::ZeroDuration());
  log->OnFrame(Frame(1));
  log->OnImage(Image(0));
  log->OnFrame(Frame(2));
  log->OnFinished(absl::OkStatus());
  const Reader reader = log->Attach(-1, {});
  EXPECT_THAT(Rest(*reader), ElementsAre("accepted", "queued 0", "started", "frame 1", "image 0",
                                         "frame 2", "end"));
  EXPECT_EQ(reader->frames_missed(), 0);
}

TEST_F(GenerationLogTest, NumbersEventsWhenTheyHappen) {
  const auto log = MakeLog({.frames = 1});
  clock_.Advance(absl::Seconds(1));
  log->OnFrame(Frame(1));
  clock_.Advance(absl::Seconds(1));
  log->OnFrame(Frame(2));
  log->OnImage(Image(0));
  clock_.Advance(absl::Seconds(1));
  const Reader reader = log->Attach(0, {});
  const auto frame = reader->Next();
  const auto image = reader->Next();
  ASSERT_TRUE(frame && image);
  EXPECT_EQ(frame->sequence, 2) << "1 was the frame that is gone";
  EXPECT_EQ(frame->time, clock_.Now() - absl::Seconds(1));
  EXPECT_EQ(image->sequence, 3);
}

TEST_F(GenerationLogTest, EveryReaderHasItsOwnPlace) {
  const auto log = MakeLog();
  for (int step = 1; step <= 3; ++step) log->OnFrame(Frame(step));
  const Reader first = log->Attach(-1, {});
  Rest(*first);
  const Reader second = log->Attach(1, {});
  log->OnImage(Image(0));
  EXPECT_THAT(Rest(*first), ElementsAre("image 0"));
  EXPECT_THAT(Rest(*second), ElementsAre("frame 2", "frame 3", "image 0"));
}

TEST_F(GenerationLogTest, IsOverForAReaderWhoHasReadTheEnd) {
  const auto log = MakeLog();
  const Reader reader = log->Attach(-1, {});
  Rest(*reader);
  EXPECT_FALSE(reader->over());
  log->OnFinished(absl::OkStatus());
  EXPECT_FALSE(reader->over());
  EXPECT_THAT(Rest(*reader), ElementsAre("end"));
  EXPECT_TRUE(reader->over());
  EXPECT_TRUE(log->Attach(log->snapshot().last_sequence, {})->over());
}

TEST_F(GenerationLogTest, WakesItsReadersUntilTheyLeave) {
  const auto log = MakeLog();
  int first_woken = 0, second_woken = 0;
  const Reader first = log->Attach(-1, [&] { ++first_woken; });
  Reader second = log->Attach(-1, [&] { ++second_woken; });
  log->OnFrame(Frame(1));
  EXPECT_EQ(first_woken, 1);
  EXPECT_EQ(second_woken, 1);
  second.reset();
  log->OnFinished(absl::OkStatus());
  EXPECT_EQ(first_woken, 2);
  EXPECT_EQ(second_woken, 1);
}

TEST_F(GenerationLogTest, SaysWhereItStands) {
  const auto log = MakeLog();
  EXPECT_FALSE(log->snapshot().started);
  log->OnStarted(absl::Seconds(1));
  log->OnStep(0, 1);
  log->OnImage(Image(0));
  const GenerationLog::Snapshot running = log->snapshot();
  EXPECT_EQ(running.started, clock_.Now());
  EXPECT_EQ(running.progress.steps_done, 1);
  EXPECT_EQ(running.progress.steps_total, 50);
  EXPECT_EQ(running.progress.images_done, 1);
  EXPECT_EQ(running.sample_bytes, kFrameBytes);
  EXPECT_FALSE(running.ended);
  clock_.Advance(absl::Seconds(3));
  log->OnFinished(absl::InternalError("broken"));
  EXPECT_EQ(log->snapshot().ended, clock_.Now());
  EXPECT_EQ(log->snapshot().status.message(), "broken");
  EXPECT_EQ(log->snapshot().last_sequence, 4);
}

TEST_F(GenerationLogTest, ReportsTheStartTheImagesAndTheEnd) {
  std::vector<std::string> reports;
  GenerationLog::Reader* reader = nullptr;
  const auto end_is_visible = [&] {
    while (reader->Next()) {
    }
    return reader->over();
  };
  GenerationLog log({.clock = &clock_,
                     .on_started =
                         [&](const auto& started) {
                           reports.push_back(
                               absl::StrCat("after ", absl::FormatDuration(started.queue_wait)));
                         },
                     .on_image = [&] { reports.push_back("image"); },
                     .on_ending =
                         [&](const auto& end) {
                           EXPECT_FALSE(end_is_visible());
                           reports.push_back(end.status.ToString());
                         },
                     .on_ended =
                         [&] {
                           EXPECT_TRUE(end_is_visible());
                           reports.push_back("ended");
                         }});
  const Reader attached = log.Attach(-1, [] {});
  reader = attached.get();
  log.OnStarted(absl::Seconds(2));
  log.OnImage(Image(0));
  log.OnFinished(absl::CancelledError("enough"));
  EXPECT_THAT(reports, ElementsAre("after 2s", "image", "CANCELLED: enough", "ended"));
}

TEST_F(GenerationLogTest, ARefusalIsNotReported) {
  GenerationLog log({.clock = &clock_, .on_ending = [](const auto&) { FAIL(); }});
  const Reader reader = log.Attach(-1, [] {});
  log.Refuse(absl::UnavailableError("the queue is full"));
  EXPECT_THAT(Rest(*reader), ElementsAre("accepted", "end"));
}

TEST_F(GenerationLogTest, DropsTheOldestFramesBeyondTheLimitAndCountsThem) {
  const auto log = MakeLog({.frames = 2});
  const Reader reader = log->Attach(0, {});
  for (int step = 1; step <= 5; ++step) log->OnFrame(Frame(step));
  EXPECT_THAT(Rest(*reader), ElementsAre("frame 4", "frame 5"));
  EXPECT_EQ(reader->frames_missed(), 3);
}

TEST_F(GenerationLogTest, AReaderThatResumesMissesOnlyWhatGoesAfterThat) {
  const auto log = MakeLog({.frames = 2});
  for (int step = 1; step <= 3; ++step) log->OnFrame(Frame(step));
  const Reader late = log->Attach(-1, {});
  const Reader resumed = log->Attach(2, {});  // frame 2
  Rest(*late);
  for (int step = 4; step <= 6; ++step) log->OnFrame(Frame(step));
  EXPECT_THAT(Rest(*resumed), ElementsAre("frame 5", "frame 6"));
  EXPECT_EQ(resumed->frames_missed(), 2) << "3 and 4";
  Rest(*late);
  EXPECT_EQ(late->frames_missed(), 2) << "1 and 4";
}

TEST_F(GenerationLogTest, KeepsTheLatestFrameOfEveryImageAndKind) {
  const auto log = MakeLog({.frames = 4});
  log->OnFrame(Frame(1, /*image_index=*/1));  // which then rests
  for (int step = 1; step <= 9; ++step) {
    log->OnFrame(Frame(10 + step, 0, FrameKind::kXt));
    log->OnFrame(Frame(20 + step, 0, FrameKind::kX0));
  }
  EXPECT_THAT(Contents(*log), ElementsAre("frame 1", "frame 28", "frame 19", "frame 29"));
}

TEST_F(GenerationLogTest, DropsTheOldestOfAllWhereThereAreMorePreviewsThanRoom) {
  const auto log = MakeLog({.frames = 2});
  for (int image = 0; image < 3; ++image) log->OnFrame(Frame(image, image));
  EXPECT_THAT(Contents(*log), ElementsAre("frame 1", "frame 2"));
}

// Or a reader who keeps up would miss frames for the sake of those who may come.
TEST_F(GenerationLogTest, DropsFramesThatEveryReaderHasFirst) {
  const auto log = MakeLog({.frames = 3});
  const Reader reader = log->Attach(0, {});
  log->OnFrame(Frame(1, /*image_index=*/1));
  EXPECT_THAT(Rest(*reader), ElementsAre("frame 1"));
  for (int step = 2; step <= 4; ++step) log->OnFrame(Frame(step));
  EXPECT_THAT(Rest(*reader), ElementsAre("frame 2", "frame 3", "frame 4"));
  EXPECT_EQ(reader->frames_missed(), 0);
}

TEST_F(GenerationLogTest, DropsFramesBeyondTheByteLimit) {
  const auto log = MakeLog({.frames = 100, .frame_bytes = 3 * kFrameBytes});
  for (int step = 1; step <= 5; ++step) log->OnFrame(Frame(step));
  EXPECT_THAT(Contents(*log), ElementsAre("frame 3", "frame 4", "frame 5"));
}

TEST_F(GenerationLogTest, KeepsTheNewestFrameEvenWhenItAloneIsOverTheByteLimit) {
  const auto log = MakeLog({.frames = 100, .frame_bytes = kFrameBytes / 2});
  log->OnFrame(Frame(1));
  log->OnFrame(Frame(2));
  EXPECT_THAT(Contents(*log), ElementsAre("frame 2"));
}

TEST_F(GenerationLogTest, MakesRoomAsFramesAreRead) {
  const auto log = MakeLog({.frames = 2, .frame_bytes = 2 * kFrameBytes});
  const Reader reader = log->Attach(0, {});
  for (int step = 1; step <= 10; ++step) {
    log->OnFrame(Frame(step));
    EXPECT_THAT(Rest(*reader), ElementsAre("frame " + std::to_string(step)));
  }
  EXPECT_EQ(reader->frames_missed(), 0);
}

TEST_F(GenerationLogTest, NeverDropsImages) {
  const auto log = MakeLog({.frames = 1});
  log->OnStarted(absl::ZeroDuration());
  for (int i = 0; i < 3; ++i) {
    log->OnFrame(Frame(i));
    log->OnImage(Image(i));
  }
  EXPECT_THAT(Contents(*log), ElementsAre("started", "image 0", "image 1", "frame 2", "image 2"));
}

TEST_F(GenerationLogTest, ProgressComesAtMostOncePerInterval) {
  const auto log = MakeLog({.progress_interval = absl::Milliseconds(100)});
  const Reader reader = log->Attach(0, {});
  size_t read = 0;
  for (int ms = 0; ms < 1000; ms += 10) {
    log->OnStep(0, ms);
    read += Rest(*reader).size();
    clock_.Advance(absl::Milliseconds(10));
  }
  EXPECT_EQ(read, 10u);
}

TEST_F(GenerationLogTest, ProgressThatHasNotBeenReadIsNotPiledUp) {
  const auto log = MakeLog();
  for (int second = 0; second < 5; ++second) {
    log->OnStep(0, second);
    clock_.Advance(absl::Seconds(1));
  }
  EXPECT_THAT(Contents(*log), ElementsAre("progress 5"));
}

TEST_F(GenerationLogTest, ProgressIsAsItStandsWhenItIsRead) {
  const auto log = MakeLog();
  for (int step = 1; step <= 30; ++step) log->OnStep(0, step);
  EXPECT_THAT(Contents(*log), ElementsAre("progress 30"));
}

TEST_F(GenerationLogTest, AQueuePositionOvertakesTheOneBefore) {
  const auto log = MakeLog();
  for (int position : {3, 2, 1}) log->OnQueued({.position = position});
  EXPECT_THAT(Contents(*log), ElementsAre("queued 1"));
}

TEST_F(GenerationLogTest, ThreadsMayReadWhileItIsWritten) {
  const auto log = MakeLog({.frames = 8});
  std::atomic<int> frames = 0;
  const auto read_all = [&] {
    const Reader reader = log->Attach(-1, {});
    int64_t last = -1;
    while (!reader->over()) {
      while (const auto event = reader->Next()) {
        EXPECT_GT(event->sequence, last);
        last = event->sequence;
        if (std::holds_alternative<FrameUpdate>(event->what)) ++frames;
      }
    }
    frames += reader->frames_missed();
  };
  std::thread first(read_all), second(read_all);
  for (int step = 1; step <= 200; ++step) {
    log->OnStep(0, step);
    log->OnFrame(Frame(step));
    clock_.Advance(absl::Milliseconds(7));
  }
  log->OnFinished(absl::OkStatus());
  first.join();
  second.join();
  EXPECT_EQ(frames, 2 * 200);
}

// --- Handovers

ImageSnapshot Begun(int index, int evaluations_done) {
  return {index, {.evaluations_done = evaluations_done, .slots = at::zeros({1, 3, 4, 4})}};
}

const GenerationLog::Handover* HandoverIn(GenerationLog::Reader& reader,
                                          std::optional<GenerationLog::Event>& event) {
  while ((event = reader.Next())) {
    if (auto* handover = std::get_if<GenerationLog::Handover>(&event->what)) return handover;
  }
  return nullptr;
}

TEST_F(GenerationLogTest, AHandoverSaysWhichImagesAreDoneAndWhichHaveBegun) {
  const auto log = MakeLog({.handover_bytes = 2 * kFrameBytes});
  log->OnImage(Image(2));
  log->OnHandover({Begun(0, 3), Begun(1, 5)});
  log->OnFinished(absl::UnavailableError("draining"));
  EXPECT_THAT(Contents(*log), ElementsAre("image 2", "handover", "end"));
  const Reader reader = log->Attach(-1, {});
  std::optional<GenerationLog::Event> event;
  const auto* handover = HandoverIn(*reader, event);
  ASSERT_NE(handover, nullptr);
  EXPECT_THAT(handover->done.images_done, ElementsAre(2));
  EXPECT_EQ(handover->done.images_begun.size(), 2);
}

TEST_F(GenerationLogTest, AHandoverLeavesOutTheImagesWithTheLeastWorkThatDoNotFit) {
  const auto log = MakeLog({.handover_bytes = 2 * kFrameBytes + 1});
  log->OnHandover({Begun(0, 3), Begun(1, 5), Begun(2, 4)});
  const Reader reader = log->Attach(-1, {});
  std::optional<GenerationLog::Event> event;
  const auto* handover = HandoverIn(*reader, event);
  ASSERT_NE(handover, nullptr);
  ASSERT_EQ(handover->done.images_begun.size(), 2);
  EXPECT_EQ(handover->done.images_begun[0].image_index, 1);
  EXPECT_EQ(handover->done.images_begun[1].image_index, 2);
  EXPECT_EQ(log->snapshot().sample_bytes, 2 * kFrameBytes);
}

TEST_F(GenerationLogTest, APauseIsAHandoverWhoeverReads) {
  const auto log = MakeLog({.handover_bytes = 2 * kFrameBytes});
  EXPECT_FALSE(log->AcceptsHandover());
  ASSERT_TRUE(log->RequestPause().ok());
  EXPECT_TRUE(log->AcceptsHandover());
  EXPECT_FALSE(log->snapshot().paused);
  log->OnHandover({Begun(0, 3)});
  log->OnFinished(absl::UnavailableError("draining"));
  const GenerationLog::Snapshot now = log->snapshot();
  EXPECT_TRUE(now.paused);
  EXPECT_EQ(now.status, PausedError()) << "although a drain came first";
  const Reader reader = log->Attach(-1, {});
  std::optional<GenerationLog::Event> event;
  const auto* handover = HandoverIn(*reader, event);
  ASSERT_NE(handover, nullptr);
  EXPECT_TRUE(handover->paused);
}

// A token holds no pictures.
TEST_F(GenerationLogTest, APauseHasImagesThatNobodyReadMadeAgain) {
  for (const bool is_read : {false, true}) {
    const auto log = MakeLog({.handover_bytes = 2 * kFrameBytes});
    const Reader caller = is_read ? log->Attach(-1, {}, /*takes_handover=*/true) : nullptr;
    log->OnImage(Image(2));
    ASSERT_TRUE(log->RequestPause().ok());
    log->OnHandover({Begun(0, 3)});
    const Reader reader = log->Attach(-1, {});
    std::optional<GenerationLog::Event> event;
    const auto* handover = HandoverIn(*reader, event);
    ASSERT_NE(handover, nullptr);
    EXPECT_THAT(handover->done.images_done, testing::SizeIs(is_read ? 1 : 0));
  }
}

TEST_F(GenerationLogTest, WhatADrainHandsOverCannotBePausedAsWell) {
  const auto log = MakeLog({.handover_bytes = 2 * kFrameBytes});
  log->OnHandover({Begun(0, 3)});
  EXPECT_TRUE(absl::IsFailedPrecondition(log->RequestPause()));
  EXPECT_FALSE(log->snapshot().paused);
}

TEST_F(GenerationLogTest, WhatEndsBeforeItsPauseIsNotPaused) {
  const auto log = MakeLog({.handover_bytes = 2 * kFrameBytes});
  ASSERT_TRUE(log->RequestPause().ok());
  log->OnFinished(absl::OkStatus());
  EXPECT_FALSE(log->snapshot().paused);
  EXPECT_TRUE(log->snapshot().status.ok());
}

TEST_F(GenerationLogTest, RefusesAPauseThatWouldLoseTheWorkOfAnImage) {
  GenerationLog log(GenerationLog::Options{.images_done = {0},
                                           .images_begun = {1},
                                           .state_bytes = kFrameBytes,
                                           .arrival = clock_.Now(),
                                           .clock = &clock_,
                                           .limits = {.handover_bytes = 2 * kFrameBytes}});
  log.OnEvaluated(2, 1);
  EXPECT_TRUE(log.RequestPause().ok());
  log.OnEvaluated(3, 1);
  const absl::Status refused = log.RequestPause();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_EQ(GetErrorReason(refused), "PAUSE_UNAVAILABLE");
  EXPECT_THAT(std::string(refused.message()), testing::HasSubstr("3 images"));
  log.OnImage(Image(2));
  EXPECT_TRUE(log.RequestPause().ok()) << "one of them is done";
}

TEST_F(GenerationLogTest, ContinuesTheNumbersAndTheProgressOfAnotherServer) {
  GenerationLog log(GenerationLog::Options{.steps_total = 50,
                                           .first_sequence = 12,
                                           .steps_done = 20,
                                           .images_done = {1},
                                           .arrival = clock_.Now(),
                                           .clock = &clock_});
  const Reader reader = log.Attach(-1, {});
  EXPECT_EQ(reader->Next()->sequence, 12);
  log.OnStep(0, 21);
  log.OnImage(Image(0));
  const GenerationLog::Snapshot now = log.snapshot();
  EXPECT_EQ(now.progress.steps_done, 21);
  EXPECT_EQ(now.progress.images_done, 2);
  EXPECT_EQ(now.last_sequence, 14);
}

}  // namespace
}  // namespace denoise
