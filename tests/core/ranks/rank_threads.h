// Ranks that are threads of one process, connected through loopback.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <barrier>
#include <functional>
#include <memory>
#include <thread>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <vector>

#include "core/ranks/rank_group.h"
#include "gtest/gtest.h"

namespace denoise {

[[maybe_unused]] inline const bool kPrepared = [] {
  PrepareProcessForRanks();
  return true;
}();

inline c10::intrusive_ptr<c10d::Store> NewStore() { return c10::make_intrusive<c10d::HashStore>(); }

// Runs `function` on each of `size` ranks at once.
inline void RunRanks(int size, const std::function<void(std::unique_ptr<RankGroup>)>& function) {
  const auto store = NewStore();
  std::barrier all_have_formed(size);  // before the first may leave
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      auto group = RankGroup::Form(store, {.rank = rank, .size = size, .address = "127.0.0.1"});
      all_have_formed.arrive_and_wait();
      ASSERT_TRUE(group.ok()) << group.status();
      function(*std::move(group));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace denoise
