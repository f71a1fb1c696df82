#include "core/ranks/rendezvous.h"

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;

const Stopped kNever = [] { return false; };

// A process that takes part in groups until it is told to stop. It notes the ranks it had.
class Member {
 public:
  explicit Member(int port)
      : thread_([this, address = absl::StrCat("127.0.0.1:", port)] { Run(address); }) {}
  ~Member() { Stop(); }

  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  // After Stop.
  const std::vector<int>& ranks() const { return ranks_; }

 private:
  void Run(const std::string& address) {
    const Stopped stopped = [this] { return stop_.load(); };
    while (!stop_) {
      auto joined = JoinedRank::Join(address, absl::Seconds(5), stopped);
      if (!joined.ok()) return;
      while (true) {
        auto group = (*joined)->NextGroup(stopped);
        if (absl::IsCancelled(group.status())) return;
        if (!group.ok()) break;  // the leader has gone
        ranks_.push_back((*group)->rank());
        at::Tensor one = at::ones({1});
        (void)(*group)->Sum(one);
      }
    }
  }

  std::atomic<bool> stop_ = false;
  std::vector<int> ranks_;
  std::thread thread_;
};

// How many ranks the group has, as they count themselves.
int Count(RankGroup& group) {
  at::Tensor ones = at::ones({1});
  EXPECT_TRUE(group.Sum(ones).ok());
  return static_cast<int>(ones.item<float>());
}

TEST(Rendezvous, GathersTheRanksThatJoinAndAgainAfterThat) {
  const auto rendezvous = Rendezvous::Listen("127.0.0.1:0").value();
  Member a(rendezvous->port()), b(rendezvous->port());
  for (int round = 0; round < 3; ++round) {
    const auto group = rendezvous->Gather({.ranks = 3, .at_least = 3}, kNever);
    ASSERT_TRUE(group.ok()) << group.status();
    EXPECT_EQ((*group)->rank(), 0);
    EXPECT_EQ(Count(**group), 3);
  }
  a.Stop();
  b.Stop();
  for (size_t round = 0; round < 3; ++round) {
    EXPECT_THAT((std::set<int>{a.ranks()[round], b.ranks()[round]}), ElementsAre(1, 2));
  }
}

TEST(Rendezvous, TrainsWithThoseThatAreThereOnceTheWaitIsOver) {
  const auto rendezvous = Rendezvous::Listen("127.0.0.1:0").value();
  Member only(rendezvous->port());
  const auto group =
      rendezvous->Gather({.ranks = 4, .at_least = 2, .wait = absl::ZeroDuration()}, kNever);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(Count(**group), 2);
}

TEST(Rendezvous, ARankForWhichThereIsNoPlaceWaitsForTheNextGroup) {
  const auto rendezvous = Rendezvous::Listen("127.0.0.1:0").value();
  Member a(rendezvous->port()), b(rendezvous->port());
  for (int round = 0; round < 2; ++round) {
    const auto group = rendezvous->Gather({.ranks = 2, .at_least = 2}, kNever);
    ASSERT_TRUE(group.ok()) << group.status();
    EXPECT_EQ(Count(**group), 2);
  }
  const auto all = rendezvous->Gather({.ranks = 3, .at_least = 3}, kNever);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(Count(**all), 3);
}

// One that claims a place and then does not connect.
TEST(Rendezvous, ARankThatIsLostBeforeTheGroupFormsCostsARound) {
  const auto rendezvous = Rendezvous::Listen("127.0.0.1:0").value();
  const auto lost =
      JoinedRank::Join(absl::StrCat("127.0.0.1:", rendezvous->port()), absl::Seconds(5), kNever)
          .value();
  std::thread claims([&] {
    std::atomic<int> looks = 0;
    (void)lost->NextGroup([&] { return ++looks > 10; });
  });
  const auto group = rendezvous->Gather(
      {.ranks = 2, .at_least = 1, .wait = absl::Milliseconds(300), .timeout = absl::Seconds(1)},
      kNever);
  ASSERT_TRUE(group.ok()) << group.status();
  claims.join();
}

TEST(Rendezvous, WaitingCanBeStopped) {
  const auto rendezvous = Rendezvous::Listen("127.0.0.1:0").value();
  std::atomic<int> looks = 0;
  const auto group = rendezvous->Gather({.ranks = 2, .at_least = 2}, [&] { return ++looks > 2; });
  EXPECT_TRUE(absl::IsCancelled(group.status())) << group.status();
  const auto joined = JoinedRank::Join("127.0.0.1:1", absl::Seconds(1), [&] { return true; });
  EXPECT_TRUE(absl::IsCancelled(joined.status())) << joined.status();
}

TEST(Rendezvous, RanksJoinALeaderThatStartsAgain) {
  auto rendezvous = Rendezvous::Listen("127.0.0.1:0").value();
  const int port = rendezvous->port();
  Member member(port);
  EXPECT_EQ(Count(**rendezvous->Gather({.ranks = 2, .at_least = 2}, kNever)), 2);
  rendezvous.reset();
  rendezvous = Rendezvous::Listen(absl::StrCat("127.0.0.1:", port)).value();
  EXPECT_EQ(Count(**rendezvous->Gather({.ranks = 2, .at_least = 2}, kNever)), 2);
}

TEST(Rendezvous, AddressesThatAreNoneAreRefused) {
  for (const char* address : {"", "host", ":29500", "host:", "host:70000", "host:-1", "host:x"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Rendezvous::Listen(address).status())) << address;
  }
  const auto first = Rendezvous::Listen("127.0.0.1:0").value();
  const absl::Status taken = Rendezvous::Listen(absl::StrCat("127.0.0.1:", first->port())).status();
  EXPECT_TRUE(absl::IsUnavailable(taken)) << taken;
}

}  // namespace
}  // namespace denoise
