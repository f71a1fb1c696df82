#include "server/connections/connection_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

class ConnectionLimitsTest : public testing::Test {
 protected:
  // Admits connections from `address` until one is refused, and returns how many were admitted.
  int Fill(const std::string& address) {
    for (int i = 0; i < 1000; ++i) {
      auto slot = limits_->Admit(address, now_);
      refusal_ = slot.status();
      if (!slot.ok()) return i;
      slots_.push_back(*std::move(slot));
    }
    return 1000;
  }

  absl::Time now_ = absl::UnixEpoch();
  std::unique_ptr<ConnectionLimits> limits_ = std::make_unique<ConnectionLimits>(
      ConnectionLimits::Limits{.connections = 10,
                               .connections_per_address = 4,
                               .new_per_address = {.burst = 6, .per_second = 2}});
  std::vector<std::unique_ptr<ConnectionLimits::Slot>> slots_;
  absl::Status refusal_;
};

TEST_F(ConnectionLimitsTest, OneAddressLeavesRoomForOthers) {
  EXPECT_EQ(Fill("192.0.2.1"), 4);
  EXPECT_THAT(std::string(refusal_.message()), HasSubstr("192.0.2.1 has 4 connections"));
  EXPECT_EQ(Fill("192.0.2.2"), 4);
  EXPECT_EQ(Fill("192.0.2.3"), 2);
  EXPECT_THAT(std::string(refusal_.message()), HasSubstr("there are 10 connections"));
  EXPECT_EQ(limits_->connections(), 10);
}

TEST_F(ConnectionLimitsTest, RoomIsMadeInTheLimitThatIsReached) {
  std::vector<std::optional<std::string>> asked;
  const auto make_room = [&](const std::optional<std::string>& address) {
    asked.push_back(address);
    slots_.pop_back();
    return true;
  };
  Fill("192.0.2.1");
  EXPECT_TRUE(limits_->Admit("192.0.2.1", now_, make_room).ok());
  Fill("192.0.2.2");
  Fill("192.0.2.3");
  EXPECT_TRUE(limits_->Admit("192.0.2.4", now_, make_room).ok());
  EXPECT_THAT(asked, testing::ElementsAre("192.0.2.1", std::nullopt));
}

TEST_F(ConnectionLimitsTest, NoRoomIsMadeForAnAddressThatConnectsTooQuickly) {
  const auto make_room = [&](const std::optional<std::string>&) {
    slots_.pop_back();
    return true;
  };
  Fill("192.0.2.1");  // and one more, which takes a token
  EXPECT_TRUE(limits_->Admit("192.0.2.1", now_, make_room).ok());
  const size_t slots = slots_.size();
  EXPECT_THAT(std::string(limits_->Admit("192.0.2.1", now_, make_room).status().message()),
              HasSubstr("--max-connection-rate"));
  EXPECT_EQ(slots_.size(), slots);
}

TEST_F(ConnectionLimitsTest, AClosedConnectionMakesRoom) {
  Fill("192.0.2.1");
  slots_.pop_back();
  EXPECT_EQ(limits_->connections(), 3);
  EXPECT_EQ(Fill("192.0.2.1"), 1);
}

TEST_F(ConnectionLimitsTest, ConnectionsOfOneAddressShareABudget) {
  const auto first = *limits_->Admit("192.0.2.1", now_);
  auto second = *limits_->Admit("192.0.2.1", now_);
  const auto other = *limits_->Admit("192.0.2.2", now_);
  EXPECT_EQ(&first->budget(), &second->budget());
  EXPECT_NE(&first->budget(), &other->budget());
}

TEST_F(ConnectionLimitsTest, NewConnectionsHaveARate) {
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(limits_->Admit("a", now_).ok());
  EXPECT_THAT(std::string(limits_->Admit("a", now_).status().message()),
              HasSubstr("2 new connections a second"));
  EXPECT_TRUE(limits_->Admit("b", now_).ok());
  now_ += absl::Seconds(1);
  EXPECT_TRUE(limits_->Admit("a", now_).ok());
}

TEST_F(ConnectionLimitsTest, ASlotMayOutliveTheLimits) {
  Fill("192.0.2.1");
  limits_.reset();
  slots_.clear();
}

TEST(AddressKey, IsWhatOneCallerHas) {
  EXPECT_EQ(AddressKey("192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(AddressKey("::ffff:192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(AddressKey("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
  EXPECT_EQ(AddressKey("2001:db8:1:2::7"), "2001:db8:1:2::/64");
  EXPECT_EQ(AddressKey(""), "unix");
}

}  // namespace
}  // namespace denoise
