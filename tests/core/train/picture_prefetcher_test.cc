#include "core/train/picture_prefetcher.h"

#include <gmock/gmock.h>

#include <atomic>
#include <map>
#include <set>
#include <thread>
#include <utility>

namespace denoise {
namespace {

Image PictureOf(int64_t position) { return {1, 1, 1, {static_cast<uint8_t>(position)}}; }

absl::StatusOr<Image> MakeAtOnce(int64_t position) { return PictureOf(position); }

// Makes pictures when the test says so, and knows which ones are being made.
class Studio {
 public:
  PicturePrefetcher::Make make() {
    return [this](int64_t position) { return Make(position); };
  }

  // Waits until some thread is making `position` for the n-th time, counted from 1.
  void WaitUntilBegun(int64_t position, int times = 1) {
    const MutexLock lock(mutex_);
    while (begun_[position] < times) changed_.Wait(mutex_);
  }

  // Lets the n-th making of `position` end, now or when it begins.
  void Finish(int64_t position, int times = 1, absl::Status status = absl::OkStatus()) {
    const MutexLock lock(mutex_);
    finished_[{position, times}] = std::move(status);
    changed_.NotifyAll();
  }

  std::set<int64_t> begun() {
    const MutexLock lock(mutex_);
    std::set<int64_t> positions;
    for (const auto& [position, times] : begun_) positions.insert(position);
    return positions;
  }

 private:
  absl::StatusOr<Image> Make(int64_t position) {
    const MutexLock lock(mutex_);
    const std::pair key(position, ++begun_[position]);
    changed_.NotifyAll();
    while (!finished_.contains(key)) changed_.Wait(mutex_);
    if (!finished_[key].ok()) return finished_[key];
    return PictureOf(position);
  }

  Mutex mutex_;
  CondVar changed_;
  std::map<int64_t, int> begun_ ABSL_GUARDED_BY(mutex_);  // by position
  std::map<std::pair<int64_t, int>, absl::Status> finished_ ABSL_GUARDED_BY(mutex_);
};

TEST(PicturePrefetcher, ReturnsPicturesInOrder) {
  for (const int threads : {1, 2, 5}) {
    PicturePrefetcher prefetcher(MakeAtOnce, threads, 4);
    for (int64_t position = 0; position < 50; ++position) {
      EXPECT_EQ(*prefetcher.Take(position), PictureOf(position));
    }
  }
}

TEST(PicturePrefetcher, ReturnsPicturesInOrderWhereThreadsOvertakeEachOther) {
  Studio studio;
  PicturePrefetcher prefetcher(studio.make(), 2, 4);
  studio.Finish(0);
  EXPECT_EQ(*prefetcher.Take(0), PictureOf(0));
  studio.WaitUntilBegun(1);
  for (int64_t position = 2; position < 5; ++position) {  // the other thread makes all of these
    studio.WaitUntilBegun(position);
    studio.Finish(position);
  }
  studio.Finish(1);
  for (int64_t position = 5; position < 20; ++position) studio.Finish(position);
  for (int64_t position = 1; position < 5; ++position) {
    EXPECT_EQ(*prefetcher.Take(position), PictureOf(position));
  }
}

TEST(PicturePrefetcher, RestartsAtAnyPosition) {
  PicturePrefetcher prefetcher(MakeAtOnce, 3, 4);
  for (const int64_t position : {0, 1, 2, 100, 101, 7, 8, 9, 7, 7}) {
    EXPECT_EQ(*prefetcher.Take(position), PictureOf(position));
  }
}

// Every picture ahead keeps a thread busy, and one more thread is free to run too far ahead.
TEST(PicturePrefetcher, NeverRunsFurtherAheadThanItsCapacity) {
  constexpr int64_t kCapacity = 5;
  Studio studio;
  PicturePrefetcher prefetcher(studio.make(), kCapacity + 2, kCapacity);
  EXPECT_TRUE(studio.begun().empty());
  for (int64_t position = 0; position < 20; ++position) {
    studio.Finish(position);
    ASSERT_TRUE(prefetcher.Take(position).ok());
    studio.WaitUntilBegun(position + kCapacity);
    EXPECT_EQ(*studio.begun().rbegin(), position + kCapacity);
  }
  for (int64_t position = 20; position < 20 + kCapacity; ++position) studio.Finish(position);
}

TEST(PicturePrefetcher, ReturnsAnErrorAndTriesAgain) {
  std::atomic<bool> broken = true;
  PicturePrefetcher prefetcher(
      [&](int64_t position) -> absl::StatusOr<Image> {
        if (broken && position == 3) return absl::DataLossError("three");
        return PictureOf(position);
      },
      2, 4);
  for (int64_t position = 0; position < 3; ++position) EXPECT_TRUE(prefetcher.Take(position).ok());
  EXPECT_EQ(prefetcher.Take(3).status(), absl::DataLossError("three"));
  EXPECT_EQ(prefetcher.Take(3).status(), absl::DataLossError("three"));
  broken = false;
  EXPECT_EQ(*prefetcher.Take(3), PictureOf(3));
  EXPECT_EQ(*prefetcher.Take(4), PictureOf(4));
}

// A picture begun before a restart fails after it, while it is being made once more.
TEST(PicturePrefetcher, ForgetsWhatWasBegunBeforeARestart) {
  Studio studio;
  PicturePrefetcher prefetcher(studio.make(), 2, 1);
  studio.Finish(0);
  EXPECT_TRUE(prefetcher.Take(0).ok());
  studio.WaitUntilBegun(1);  // by one thread, which stays in it

  for (const int64_t position : {100, 101, 2}) studio.Finish(position);
  EXPECT_EQ(*prefetcher.Take(100), PictureOf(100));
  std::thread taker([&] { EXPECT_EQ(*prefetcher.Take(1), PictureOf(1)); });
  studio.WaitUntilBegun(1, 2);  // by the other thread
  studio.Finish(1, 1, absl::DataLossError("stale"));
  studio.WaitUntilBegun(2);  // by the first thread, so the stale error has been delivered
  studio.Finish(1, 2);
  taker.join();
}

TEST(PicturePrefetcher, EndsWithoutItsPicturesBeingTaken) {
  PicturePrefetcher unused(MakeAtOnce, 2, 4);
  PicturePrefetcher full(MakeAtOnce, 2, 4);
  EXPECT_TRUE(full.Take(0).ok());
}

}  // namespace
}  // namespace denoise
