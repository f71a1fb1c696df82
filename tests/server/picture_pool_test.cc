#include "server/rpc/picture_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <stdexcept>
#include <vector>

namespace denoise {
namespace {

TEST(PicturePool, RunsTasksInOrderOnOneThread) {
  std::vector<int> order;
  {
    PicturePool pool(1);
    for (int i = 0; i < 100; ++i) pool.Schedule([&order, i] { order.push_back(i); });
  }
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
}

TEST(PicturePool, RunsTasksOnSeveralThreadsAtOnce) {
  PicturePool pool(2);
  std::promise<void> first, second;
  std::atomic<int> done = 0;
  // Each waits for the other: one thread alone would never get past the first.
  pool.Schedule([&] { first.set_value(), second.get_future().wait(), ++done; });
  pool.Schedule([&] { second.set_value(), first.get_future().wait(), ++done; });
  while (done < 2) std::this_thread::yield();
}

TEST(PicturePool, OutlivesATaskThatThrows) {
  std::atomic<int> done = 0;
  {
    PicturePool pool(1);
    pool.Schedule([] { throw std::runtime_error("no"); });
    pool.Schedule([] { throw 1; });
    pool.Schedule([&done] { ++done; });
  }
  EXPECT_EQ(done, 1);
}

TEST(PicturePool, RunsWhatIsQueuedBeforeItGoes) {
  std::atomic<int> done = 0;
  {
    PicturePool pool(3);
    for (int i = 0; i < 50; ++i) {
      // A task may schedule the next, as streams do.
      pool.Schedule([&] { pool.Schedule([&done] { ++done; }); });
    }
  }
  EXPECT_EQ(done, 50);
}

}  // namespace
}  // namespace denoise
