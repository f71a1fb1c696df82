#include "core/ranks/rank_group.h"

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "core/base/error_details.h"
#include "tests/core/ranks/rank_threads.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;

TEST(RankGroup, SharesCoverTheBatch) {
  RunRanks(3, [](std::unique_ptr<RankGroup> group) {
    for (const int batch : {3, 4, 7, 64}) {
      int end = 0;
      for (int rank = 0; rank < group->size(); ++rank) {
        const RankGroup::Share share = group->ShareOf(rank, batch);
        EXPECT_EQ(share.first, end);
        EXPECT_GE(share.rows(), batch / 3);
        EXPECT_LE(share.rows(), batch / 3 + 1);
        end = share.end;
      }
      EXPECT_EQ(end, batch);
    }
  });
}

TEST(RankGroup, EverybodyGetsWhatTheLeaderHas) {
  RunRanks(3, [](std::unique_ptr<RankGroup> group) {
    std::vector<std::string> texts;
    if (group->rank() == 0) texts = {"settings", "", std::string("\0bytes", 6)};
    ASSERT_TRUE(group->Broadcast(texts).ok());
    EXPECT_THAT(texts, ElementsAre("settings", "", std::string("\0bytes", 6)));
    const at::Tensor tensor = at::full({2, 3}, group->rank() == 0 ? 7.0f : 0.0f);
    ASSERT_TRUE(group->Broadcast(tensor).ok());
    EXPECT_EQ(tensor.sum().item<float>(), 42);
  });
}

TEST(RankGroup, SendsToOneRank) {
  RunRanks(3, [](std::unique_ptr<RankGroup> group) {
    if (group->rank() == 0) {
      for (int to = 1; to < group->size(); ++to) {
        EXPECT_TRUE(group->StartSending(at::full({4}, float(to)), to)(group->timeout()).ok());
      }
    } else {
      at::Tensor received = at::zeros({4});
      ASSERT_TRUE(group->Receive(received, 0, group->timeout()).ok());
      EXPECT_EQ(received.sum().item<float>(), 4 * group->rank());
    }
  });
}

// One that is slow to prepare does not make the others fail.
TEST(RankGroup, RanksGetReadyInAnyOrder) {
  std::promise<void> second;
  RunRanks(3, [&](std::unique_ptr<RankGroup> group) {
    if (group->rank() == 0) {
      EXPECT_TRUE(group->AwaitOthers(absl::Minutes(1)).ok());
    } else if (group->rank() == 2) {
      EXPECT_TRUE(group->ReportReady().ok());
      second.set_value();
    } else {
      second.get_future().wait();
      EXPECT_TRUE(group->ReportReady().ok());
    }
  });
}

TEST(RankGroup, SumsOverAllRanks) {
  RunRanks(4, [](std::unique_ptr<RankGroup> group) {
    at::Tensor tensor = at::full({5}, float(group->rank() + 1));
    ASSERT_TRUE(group->Sum(tensor).ok());
    EXPECT_EQ(tensor.sum().item<float>(), 5 * (1 + 2 + 3 + 4));
  });
}

// Two passes of a step add up, and are summed over the ranks once; the next step starts anew.
TEST(RankGroup, GradientsAreSumsOverRanksAndPasses) {
  RunRanks(2, [](std::unique_ptr<RankGroup> group) {
    std::vector<at::Tensor> weights;
    for (const int64_t size : {3, 1 << 19, 5}) {  // more than one bucket
      weights.push_back(at::ones({size}).requires_grad_());
      weights.back().mutable_grad() = at::zeros({size});
    }
    const auto gradients = group->SumGradients(weights);
    at::Tensor unused = at::ones({2}).requires_grad_();
    unused.mutable_grad() = at::full({2}, 6.0f);
    weights.push_back(unused);
    const auto loss = [&](float factor) {
      at::Tensor sum = at::zeros({});
      for (size_t i = 0; i < 3; ++i) sum = sum + (weights[i] * factor).sum();
      return sum;
    };
    for (int step = 1; step <= 3; ++step) {
      for (size_t i = 0; i < 3; ++i) weights[i].grad().zero_();
      loss(10).backward();
      EXPECT_EQ(weights[0].grad()[0].item<float>(), 10) << "not summed yet";
      const at::Tensor last = loss(float(group->rank() + step));
      gradients->BeforeLastBackward(last);
      last.backward();
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(weights[i].grad().min().item<float>(), 20 + 2 * step + 1);
        EXPECT_EQ(weights[i].grad().max().item<float>(), 20 + 2 * step + 1);
      }
      EXPECT_EQ(unused.grad()[0].item<float>(), 6);
    }
  });
}

TEST(RankGroup, AReceiveCanBeInterrupted) {
  RunRanks(2, [](std::unique_ptr<RankGroup> group) {
    at::Tensor tensor = at::zeros({1});
    if (group->rank() == 1) {
      std::thread interrupts([&] { group->InterruptReceive(); });
      const absl::Status status = group->Receive(tensor, 0, absl::Hours(1));
      interrupts.join();
      EXPECT_EQ(GetErrorReason(status), kRankLostReason) << status;
    } else {
      EXPECT_FALSE(group->Receive(tensor, 1, absl::Hours(1)).ok()) << "the other one has gone";
    }
  });
}

TEST(RankGroup, TheLossOfARankIsNoticed) {
  RunRanks(3, [](std::unique_ptr<RankGroup> group) {
    if (group->rank() == 2) return;
    at::Tensor tensor = at::ones({1 << 16});
    const absl::Status status = group->Sum(tensor);
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_EQ(GetErrorReason(status), kRankLostReason);
  });
}

TEST(RankGroup, ARankThatDoesNotComeIsNoticed) {
  const absl::Status status =
      RankGroup::Form(NewStore(), {.rank = 0,
                                   .size = 2,
                                   .address = "127.0.0.1",
                                   .forming_timeout = absl::Milliseconds(200)})
          .status();
  EXPECT_EQ(GetErrorReason(status), kRankLostReason) << status;
}

}  // namespace
}  // namespace denoise
