#include "server/scheduling/fair_share.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace denoise {
namespace {

using testing::DoubleEq;
using testing::DoubleNear;
using testing::ElementsAre;

const Flow kA = {"a"}, kB = {"b"};

FairAccount::Use Use(const Flow& flow, double seconds, bool left_out, double share = 0.5) {
  return {.flow = flow,
          .share = share,
          .rows = seconds > 0 ? 1 : 0,
          .time = absl::Seconds(seconds),
          .left_out = left_out};
}

TEST(Shares, TenantsShareByTheirWeights) {
  EXPECT_THAT(Shares(std::vector{kA, kB}, {}), ElementsAre(0.5, 0.5));
  EXPECT_THAT(Shares(std::vector{kA, kB}, {{"a", 3}, {"absent", 9}}), ElementsAre(0.75, 0.25));
  EXPECT_THAT(Shares(std::vector{kB}, {{"a", 3}}), ElementsAre(1));
}

TEST(Shares, PrioritiesShareThePartOfTheirTenant) {
  const std::vector<Flow> flows = {
      {"a", Priority::kBatch}, {"a", Priority::kInteractive}, {"b", Priority::kBatch}};
  EXPECT_THAT(Shares(flows, {}), ElementsAre(DoubleEq(0.5 / 17), DoubleEq(8.0 / 17), 0.5));
}

TEST(TakenFrom, OthersCountUpToTheirShare) {
  const std::vector<double> held = {10, 64}, shares = {0.5, 0.5};
  EXPECT_EQ(TakenFrom(0, held, shares, 64), 10 + 32);
  EXPECT_EQ(TakenFrom(1, held, shares, 64), 10 + 64);
}

TEST(FairAccount, AFlowsTimeRunsFasterTheSmallerItsShare) {
  FairAccount account;
  account.Charge(std::vector{Use(kA, 1, true, 0.25), Use(kB, 1, true, 0.75)});
  EXPECT_THAT(account.VirtualTimeOf(kA), DoubleEq(4));
  EXPECT_THAT(account.VirtualTimeOf(kB), DoubleNear(4.0 / 3, 1e-9));
}

// B is served ten times as long, but only because its turns are longer.
TEST(FairAccount, AFlowThatIsBehindCatchesUp) {
  FairAccount account;
  account.Charge(std::vector{Use(kA, 0, true), Use(kB, 1, true)});
  int turns = 0;
  for (; account.VirtualTimeOf(kA) < account.VirtualTimeOf(kB); ++turns) {
    account.Charge(std::vector{Use(kA, 0.1, false), Use(kB, 0, true)});
  }
  EXPECT_NEAR(turns, 10, 1);
}

// A wants one row of each turn and gets it; B would take whatever there is.
TEST(FairAccount, AFlowThatIsServedAllItWantsSavesNothingUp) {
  FairAccount account;
  for (int turn = 0; turn < 10; ++turn) {
    account.Charge(std::vector<FairAccount::Use>{
        {.flow = kA, .share = 0.5, .rows = 1, .time = absl::Seconds(0.1)},
        {.flow = kB, .share = 0.5, .rows = 9, .time = absl::Seconds(0.9), .left_out = true}});
  }
  EXPECT_NEAR(account.VirtualTimeOf(kA), account.VirtualTimeOf(kB), 0.3);
}

TEST(FairAccount, ANewFlowBeginsWhereTheLastTurnDid) {
  FairAccount account;
  account.Charge(std::vector{Use(kA, 4, true), Use(kB, 0, true)});
  account.Charge(std::vector{Use(kA, 0, true), Use(kB, 3, true)});
  account.Charge(std::vector{Use(kA, 0, true), Use(kB, 3, true)});
  EXPECT_EQ(account.VirtualTimeOf({"new"}), 6) << "B began its last turn there";
}

// B, of another kind, has to wait for two turns of A and C that it would have come before.
TEST(FairAccount, AFlowThatIsLeftOutLosesNothing) {
  FairAccount account;
  account.Charge(std::vector{Use(kA, 1, true), Use(kB, 0, true), Use({"c"}, 3, true)});
  account.Charge(std::vector{Use(kA, 1, true), Use(kB, 0, true), Use({"c"}, 3, true)});
  EXPECT_EQ(account.VirtualTimeOf(kB), 0);
}

TEST(FairAccount, LeavingAndComingBackErasesNoDebt) {
  FairAccount account;
  account.Charge(std::vector{Use(kA, 4, true), Use(kB, 1, true)});
  account.Charge(std::vector{Use(kB, 1, true)});
  EXPECT_EQ(account.VirtualTimeOf(kA), 8);
  EXPECT_EQ(account.VirtualTimeOf(kB), 4);
}

TEST(FairAccount, NobodyIsOwedAnythingOnceNobodyIsLeftOut) {
  FairAccount account;
  account.Charge(std::vector{Use(kA, 4, true), Use(kB, 1, true)});
  account.Charge(std::vector{Use(kA, 1, false), Use(kB, 1, false)});
  EXPECT_EQ(account.VirtualTimeOf(kA), account.VirtualTimeOf(kB));
}

}  // namespace
}  // namespace denoise
