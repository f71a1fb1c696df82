#include "server/rpc/outbox.h"

#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace denoise {
namespace {

using ::testing::ElementsAre;

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

denoised::v1::GenerateEvent Event() {
  denoised::v1::GenerateEvent event;
  event.mutable_started();
  return event;
}

std::string Describe(const OutboxItem& item) {
  if (const auto* frame = std::get_if<FrameUpdate>(&item)) {
    return "frame " + std::to_string(frame->step);
  }
  if (const auto* image = std::get_if<ImageUpdate>(&item)) {
    return "image " + std::to_string(image->image_index);
  }
  if (const auto* queued = std::get_if<QueuePosition>(&item)) {
    return "queued " + std::to_string(queued->position);
  }
  return std::holds_alternative<ProgressMark>(item) ? "progress" : "event";
}

std::vector<std::string> Contents(Outbox& outbox) {
  std::vector<std::string> contents;
  while (auto item = outbox.Pop()) contents.push_back(Describe(*item));
  return contents;
}

TEST(Outbox, KeepsTheOrderOfWhatHappened) {
  Outbox outbox({});
  outbox.PushEvent(Event());
  outbox.PushFrame(Frame(1));
  outbox.PushImage(Image(0));
  outbox.PushFrame(Frame(2));
  EXPECT_THAT(Contents(outbox), ElementsAre("event", "frame 1", "image 0", "frame 2"));
  EXPECT_EQ(outbox.frames_dropped(), 0);
}

TEST(Outbox, DropsTheOldestFramesBeyondTheLimitAndCountsThem) {
  Outbox outbox({.frames = 2});
  for (int step = 1; step <= 5; ++step) outbox.PushFrame(Frame(step));
  EXPECT_EQ(outbox.frames_dropped(), 3);
  EXPECT_THAT(Contents(outbox), ElementsAre("frame 4", "frame 5"));
}

TEST(Outbox, KeepsTheLatestFrameOfEveryImageAndKind) {
  Outbox outbox({.frames = 4});
  outbox.PushFrame(Frame(1, /*image_index=*/1));  // which then rests
  for (int step = 1; step <= 9; ++step) {
    outbox.PushFrame(Frame(10 + step, 0, FrameKind::kXt));
    outbox.PushFrame(Frame(20 + step, 0, FrameKind::kX0));
  }
  EXPECT_THAT(Contents(outbox), ElementsAre("frame 1", "frame 28", "frame 19", "frame 29"));
}

TEST(Outbox, DropsTheOldestOfAllWhereThereAreMorePreviewsThanRoom) {
  Outbox outbox({.frames = 2});
  for (int image = 0; image < 3; ++image) outbox.PushFrame(Frame(image, image));
  EXPECT_THAT(Contents(outbox), ElementsAre("frame 1", "frame 2"));
}

TEST(Outbox, ForgetsWhatWasTaken) {
  Outbox outbox({.frames = 2});
  outbox.PushFrame(Frame(1));
  outbox.Pop();
  outbox.PushFrame(Frame(2));
  outbox.PushFrame(Frame(3, /*image_index=*/1));
  outbox.PushFrame(Frame(4, /*image_index=*/1));
  EXPECT_THAT(Contents(outbox), ElementsAre("frame 2", "frame 4")) << "2 has nothing behind it";
}

TEST(Outbox, DropsFramesBeyondTheByteLimit) {
  Outbox outbox({.frames = 100, .frame_bytes = 3 * kFrameBytes});
  for (int step = 1; step <= 5; ++step) outbox.PushFrame(Frame(step));
  EXPECT_THAT(Contents(outbox), ElementsAre("frame 3", "frame 4", "frame 5"));
}

TEST(Outbox, KeepsTheNewestFrameEvenWhenItAloneIsOverTheByteLimit) {
  Outbox outbox({.frames = 100, .frame_bytes = kFrameBytes / 2});
  outbox.PushFrame(Frame(1));
  outbox.PushFrame(Frame(2));
  EXPECT_THAT(Contents(outbox), ElementsAre("frame 2"));
}

TEST(Outbox, MakesRoomAsFramesAreTaken) {
  Outbox outbox({.frames = 2, .frame_bytes = 2 * kFrameBytes});
  for (int step = 1; step <= 10; ++step) {
    outbox.PushFrame(Frame(step));
    EXPECT_EQ(Describe(*outbox.Pop()), "frame " + std::to_string(step));
  }
  EXPECT_EQ(outbox.frames_dropped(), 0);
}

TEST(Outbox, NeverDropsImagesOrEvents) {
  Outbox outbox({.frames = 1});
  outbox.PushEvent(Event());
  for (int i = 0; i < 3; ++i) {
    outbox.PushFrame(Frame(i));
    outbox.PushImage(Image(i));
  }
  EXPECT_THAT(Contents(outbox), ElementsAre("event", "image 0", "image 1", "frame 2", "image 2"));
}

TEST(Outbox, ProgressComesAtMostOncePerInterval) {
  Outbox outbox({.progress_interval = absl::Milliseconds(100)});
  const absl::Time start = absl::UnixEpoch();
  int written = 0;
  for (int ms = 0; ms < 1000; ms += 10) {
    outbox.PushProgress(start + absl::Milliseconds(ms));
    while (outbox.Pop()) ++written;
  }
  EXPECT_EQ(written, 10);
}

TEST(Outbox, ProgressThatHasNotBeenWrittenIsNotPiledUp) {
  Outbox outbox({});
  for (int second = 0; second < 5; ++second) {
    outbox.PushProgress(absl::UnixEpoch() + absl::Seconds(second));
  }
  EXPECT_THAT(Contents(outbox), ElementsAre("progress"));
}

TEST(Outbox, AQueuePositionOvertakesTheOneBefore) {
  Outbox outbox({});
  outbox.PushEvent(Event());
  for (int position : {3, 2, 1}) outbox.PushQueuePosition(position);
  EXPECT_THAT(Contents(outbox), ElementsAre("event", "queued 1"));
}

TEST(Outbox, IsEmptyAndUsableOnceCleared) {
  Outbox outbox({.frames = 1});
  outbox.PushFrame(Frame(1));
  outbox.PushProgress(absl::UnixEpoch());
  outbox.Clear();
  EXPECT_TRUE(outbox.empty());
  outbox.PushFrame(Frame(2));
  outbox.PushProgress(absl::UnixEpoch() + absl::Seconds(1));
  EXPECT_THAT(Contents(outbox), ElementsAre("frame 2", "progress"));
  EXPECT_EQ(outbox.frames_dropped(), 0) << "what nobody waits for is not dropped";
}

}  // namespace
}  // namespace denoise
