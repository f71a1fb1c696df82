#include "server/rpc/work_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <stdexcept>
#include <vector>

namespace denoise {
namespace {

TEST(WorkPool, RunsTasksInOrderOnOneThread) {
  std::vector<int> order;
  {
    WorkPool pool(1);
    for (int i = 0; i < 100; ++i) pool.Schedule([&order, i] { order.push_back(i); });
  }
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
}

TEST(WorkPool, RunsTasksOnSeveralThreadsAtOnce) {
  std::promise<void> first, second;
  WorkPool pool(2);  // whose destruction waits for both
  // Each waits for the other: one thread alone would never get past the first.
  pool.Schedule([&] { first.set_value(), second.get_future().wait(); });
  pool.Schedule([&] { second.set_value(), first.get_future().wait(); });
}

TEST(WorkPool, OutlivesATaskThatThrows) {
  std::atomic<int> done = 0;
  {
    WorkPool pool(1);
    pool.Schedule([] { throw std::runtime_error("no"); });
    pool.Schedule([] { throw 1; });
    pool.Schedule([&done] { ++done; });
  }
  EXPECT_EQ(done, 1);
}

TEST(WorkPool, RunsWhatIsQueuedBeforeItGoes) {
  std::atomic<int> done = 0;
  {
    WorkPool pool(3);
    for (int i = 0; i < 50; ++i) {
      // A task may schedule the next, as streams do.
      pool.Schedule([&] { pool.Schedule([&done] { ++done; }); });
    }
  }
  EXPECT_EQ(done, 50);
}

}  // namespace
}  // namespace denoise
