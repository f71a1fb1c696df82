#include "core/ranks/rendezvous.h"

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/file_descriptor.h"
#include "core/ranks/addresses.h"
#include "core/ranks/joined_rank.h"
#include "tests/core/ranks/rank_threads.h"  // prepares the process

namespace denoise {
namespace {

using ::testing::ElementsAre;

const Stopped kNever = [] { return false; };
constexpr char kVersion[] = "1";

// A process that takes part in groups until it is told to stop. It notes the ranks it had.
class Member {
 public:
  explicit Member(int port, const std::string& host = "127.0.0.1")
      : thread_([this, address = absl::StrCat(host, ":", port)] { Run(address); }) {}
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
      const auto joined = JoinedRank::Join(address, kVersion, stopped);
      while (joined.ok()) {
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
  const auto rendezvous = Rendezvous::Listen("127.0.0.1:0", kVersion).value();
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
  const auto rendezvous = Rendezvous::Listen("127.0.0.1:0", kVersion).value();
  Member only(rendezvous->port());
  const auto group =
      rendezvous->Gather({.ranks = 4, .at_least = 2, .wait = absl::ZeroDuration()}, kNever);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(Count(**group), 2);
}

TEST(Rendezvous, ARankForWhichThereIsNoPlaceWaitsForTheNextGroup) {
  const auto rendezvous = Rendezvous::Listen("127.0.0.1:0", kVersion).value();
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

// One that claims a place and then does not connect. The next round waits for those that are left,
// although the wait is over.
TEST(Rendezvous, ARankThatIsLostBeforeTheGroupFormsCostsARound) {
  const auto rendezvous = Rendezvous::Listen("127.0.0.1:0", kVersion).value();
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(rendezvous->port());
  options.waitWorkers = false;
  c10d::TCPStore lost("127.0.0.1", options);
  lost.add("1/joined", 1);
  Member left(rendezvous->port());
  std::vector<absl::Status> lost_rounds;
  const auto group =
      rendezvous->Gather({.ranks = 2, .at_least = 1, .wait = absl::ZeroDuration()}, kNever,
                         [&](const absl::Status& reason) { lost_rounds.push_back(reason); });
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(Count(**group), 2);
  ASSERT_EQ(lost_rounds.size(), 1u);
  EXPECT_EQ(GetErrorReason(lost_rounds[0]), kRankLostReason);
}

TEST(Rendezvous, WaitingCanBeStopped) {
  const auto rendezvous = Rendezvous::Listen("127.0.0.1:0", kVersion).value();
  std::atomic<int> looks = 0;
  const auto group = rendezvous->Gather({.ranks = 2, .at_least = 2}, [&] { return ++looks > 2; });
  EXPECT_TRUE(absl::IsCancelled(group.status())) << group.status();
  const auto joined =
      JoinedRank::Join(absl::StrCat("127.0.0.1:", rendezvous->port()), kVersion, kNever).value();
  EXPECT_TRUE(absl::IsCancelled(joined->NextGroup([] { return true; }).status()));
}

// It takes connections, as the kernel does for a process that is stopped.
TEST(Rendezvous, ALeaderThatSaysNothingDoesNotKeepARankFromEnding) {
  const FileDescriptor silent = ListeningSocket({"127.0.0.1", 0}).value();
  const std::string address = absl::StrCat("127.0.0.1:", LocalPort(silent.get()));
  int asked = 0;
  const auto joined = JoinedRank::Join(address, kVersion, [&] { return ++asked > 2; });
  EXPECT_TRUE(absl::IsCancelled(joined.status())) << joined.status();
}

TEST(Rendezvous, ARankWithoutAPlaceHearsThatAJobIsFinished) {
  const auto rendezvous = Rendezvous::Listen("127.0.0.1:0", kVersion).value();
  const std::string address = absl::StrCat("127.0.0.1:", rendezvous->port());
  const auto joined = JoinedRank::Join(address, kVersion, kNever).value();
  rendezvous->AnnounceFinished();
  EXPECT_TRUE(absl::IsOutOfRange(joined->NextGroup(kNever).status()));
  Member other(rendezvous->port());  // which has joined since, takes the next place
  const auto group = rendezvous->Gather({.ranks = 2, .at_least = 2}, kNever);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(Count(**group), 2);
}

TEST(Rendezvous, AnotherVersionIsRefused) {
  const auto rendezvous = Rendezvous::Listen("127.0.0.1:0", kVersion).value();
  const absl::Status status =
      JoinedRank::Join(absl::StrCat("127.0.0.1:", rendezvous->port()), "2", kNever).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(status.message(),
            "the leader is \"1\", and this rank \"2\": run the same version on all machines");
}

TEST(Rendezvous, WithoutALeaderThereIsNothingToJoin) {
  EXPECT_TRUE(absl::IsUnavailable(JoinedRank::Join("127.0.0.1:1", kVersion, kNever).status()));
  EXPECT_TRUE(absl::IsUnavailable(JoinedRank::Join("no.such.host:1", kVersion, kNever).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(JoinedRank::Join("nowhere", kVersion, kNever).status()));
}

// The name of a machine often means its loopback interface, which other machines cannot reach.
TEST(Rendezvous, ALeaderOnAllAddressesUsesTheOneThatWasReached) {
  const auto rendezvous = Rendezvous::Listen("0.0.0.0:0", kVersion).value();
  Member member(rendezvous->port(), "127.0.0.3");
  const auto group = rendezvous->Gather({.ranks = 2, .at_least = 2}, kNever);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ((*group)->address(), "127.0.0.3");
  EXPECT_EQ(Count(**group), 2);
}

TEST(Rendezvous, RanksJoinALeaderThatStartsAgain) {
  auto rendezvous = Rendezvous::Listen("127.0.0.1:0", kVersion).value();
  const int port = rendezvous->port();
  Member member(port);
  EXPECT_EQ(Count(**rendezvous->Gather({.ranks = 2, .at_least = 2}, kNever)), 2);
  rendezvous.reset();
  rendezvous = Rendezvous::Listen(absl::StrCat("127.0.0.1:", port), kVersion).value();
  EXPECT_EQ(Count(**rendezvous->Gather({.ranks = 2, .at_least = 2}, kNever)), 2);
}

TEST(Rendezvous, AddressesThatAreNoneAreRefused) {
  for (const char* address : {"", "host", ":29500", "host:", "host:70000", "host:-1", "host:x"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Rendezvous::Listen(address, kVersion).status())) << address;
  }
  const auto first = Rendezvous::Listen("127.0.0.1:0", kVersion).value();
  const absl::Status taken =
      Rendezvous::Listen(absl::StrCat("127.0.0.1:", first->port()), kVersion).status();
  EXPECT_TRUE(absl::IsUnavailable(taken)) << taken;
}

}  // namespace
}  // namespace denoise
