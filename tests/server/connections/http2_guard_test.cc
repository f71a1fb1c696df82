// Frames by hand, as RFC 9113 has them.
#include "server/connections/http2_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace denoise {
namespace {

using ::testing::HasSubstr;

constexpr char kPreface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr char kData = 0, kHeaders = 1, kPriority = 2, kRstStream = 3, kSettings = 4, kPing = 6,
               kWindowUpdate = 8, kContinuation = 9;
constexpr char kEndStream = 1, kAck = 1, kEndHeaders = 4;

std::string Frame(char type, char flags, size_t payload) {
  const auto byte = [payload](int shift) { return static_cast<char>(payload >> shift & 0xff); };
  return std::string{byte(16), byte(8), byte(0), type, flags, 0, 0, 0, 1} +
         std::string(payload, 'x');
}

class Http2GuardTest : public testing::Test {
 protected:
  Http2GuardTest() { EXPECT_TRUE(Say(kPreface).ok()); }

  absl::Status Say(const std::string& bytes) { return guard_.Inspect(bytes, now_); }

  // How often `bytes` can be said until the guard refuses; `most` if it does not.
  int Count(const std::string& bytes, int most) {
    for (int i = 0; i < most; ++i) {
      refusal_ = Say(bytes);
      if (!refusal_.ok()) return i;
    }
    return most;
  }

  absl::Time now_ = absl::UnixEpoch();
  const Http2Guard::Limits limits_ = {.header_block_bytes = 1000,
                                      .resets = {.burst = 10, .per_second = 5},
                                      .control_frames = {.burst = 20, .per_second = 5}};
  Http2Guard::AddressBudget address_{{}, now_};
  Http2Guard guard_{limits_, now_, &address_};
  absl::Status refusal_;
};

TEST_F(Http2GuardTest, LetsAnOrdinaryConnectionPassWhereverItsBytesAreSplit) {
  std::string bytes = kPreface + Frame(kSettings, 0, 18);
  for (int call = 0; call < 100; ++call) {
    bytes += Frame(kHeaders, 0, 300) + Frame(kContinuation, kEndHeaders, 200) +
             Frame(kData, 0, 5000) + Frame(kData, kEndStream, 0) + Frame(kWindowUpdate, 0, 4);
  }
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{4096}, bytes.size()}) {
    Http2Guard guard({}, now_, &address_);
    for (size_t at = 0; at < bytes.size(); at += piece)
      ASSERT_TRUE(guard.Inspect(bytes.substr(at, piece), now_).ok()) << piece << " " << at;
    EXPECT_TRUE(guard.established());
  }
}

TEST_F(Http2GuardTest, RefusesWhatIsNotHttp2AtItsFirstWrongByte) {
  for (const std::string& bytes :
       {std::string("GET /metrics HTTP/1.1\r\n"), std::string("\x16\x03\x01\x02"),
        std::string("PRI * HTTP/1"), std::string("\0", 1)}) {
    Http2Guard guard({}, now_, &address_);
    EXPECT_EQ(guard.Inspect(bytes, now_).message(), "not HTTP/2");
    EXPECT_FALSE(guard.established());
  }
}

TEST_F(Http2GuardTest, ABlockOfHeadersHasALimitHoweverItIsDivided) {
  EXPECT_TRUE(Say(Frame(kHeaders, kEndHeaders, 991)).ok());
  EXPECT_TRUE(Say(Frame(kHeaders, 0, 300) + Frame(kContinuation, kEndHeaders, 600)).ok());
  EXPECT_TRUE(Say(Frame(kHeaders, 0, 300)).ok());
  EXPECT_EQ(Count(Frame(kContinuation, 0, 100), 100), 6);
  EXPECT_THAT(std::string(refusal_.message()), HasSubstr("header block of more than 1000 bytes"));
}

TEST_F(Http2GuardTest, ABlockOfEmptyContinuationsEnds) {
  EXPECT_TRUE(Say(Frame(kHeaders, 0, 0)).ok());
  EXPECT_LT(Count(Frame(kContinuation, 0, 0), 1000), 120);
}

TEST_F(Http2GuardTest, CancelledCallsHaveARate) {
  const std::string reset_call = Frame(kHeaders, kEndHeaders, 20) + Frame(kRstStream, 0, 4);
  EXPECT_EQ(Count(reset_call, 10), 10);
  now_ += absl::Seconds(1);
  EXPECT_EQ(Count(reset_call, 100), 5);
  EXPECT_THAT(std::string(refusal_.message()), HasSubstr("5 cancelled calls a second"));
}

// 20 resets each are allowed to three connections, but no 30 to their address.
TEST_F(Http2GuardTest, ConnectionsOfOneAddressHaveARateTogether) {
  Http2Guard::AddressBudget address(
      {.resets = {.burst = 30, .per_second = 2}, .control_frames = {.burst = 50, .per_second = 2}},
      now_);
  const Http2Guard::Limits limits = {.resets = {.burst = 20, .per_second = 5},
                                     .control_frames = {.burst = 40, .per_second = 5}};
  const auto count = [&](const std::string& frame) {
    Http2Guard guard(limits, now_, &address);
    EXPECT_TRUE(guard.Inspect(kPreface, now_).ok());
    for (int i = 0;; ++i) {
      refusal_ = guard.Inspect(frame, now_);
      if (!refusal_.ok()) return i;
    }
  };
  EXPECT_EQ(count(Frame(kRstStream, 0, 4)), 20);
  EXPECT_EQ(count(Frame(kRstStream, 0, 4)), 10);
  EXPECT_THAT(std::string(refusal_.message()), HasSubstr("2 cancelled calls a second on all"));
  EXPECT_EQ(count(Frame(kRstStream, 0, 4)), 0);
  EXPECT_EQ(count(Frame(kPing, 0, 8)), 40);
  EXPECT_EQ(count(Frame(kPing, 0, 8)), 10);
  now_ += absl::Seconds(1);
  EXPECT_EQ(count(Frame(kRstStream, 0, 4)), 2);
}

TEST_F(Http2GuardTest, FramesThatCarryNoCallHaveARateTogether) {
  EXPECT_TRUE(Say(Frame(kSettings, 0, 6)).ok());
  EXPECT_TRUE(Say(Frame(kPriority, 0, 5)).ok());
  EXPECT_TRUE(Say(Frame(kData, 0, 0)).ok());
  EXPECT_TRUE(Say(Frame(/*unknown type*/ 77, 0, 9)).ok());
  EXPECT_EQ(Count(Frame(kPing, 0, 8), 100), 16);
  EXPECT_THAT(std::string(refusal_.message()), HasSubstr("5 control frames a second"));
}

TEST_F(Http2GuardTest, AClientThatAcknowledgesNothingMayMakeFewCalls) {
  const std::string call = Frame(kHeaders, kEndHeaders | kEndStream, 50);
  EXPECT_EQ(Count(call, 1000), 128);
  EXPECT_THAT(std::string(refusal_.message()), HasSubstr("acknowledged the server's SETTINGS"));
}

TEST_F(Http2GuardTest, ReadingAndSendingMuchIsNoFlood) {
  EXPECT_TRUE(Say(Frame(kSettings, kAck, 0)).ok());
  EXPECT_EQ(Count(Frame(kWindowUpdate, 0, 4), 10'000), 10'000);
  EXPECT_EQ(Count(Frame(kData, 0, 1), 10'000), 10'000);
  EXPECT_EQ(Count(Frame(kHeaders, kEndHeaders | kEndStream, 50), 10'000), 10'000);
}

}  // namespace
}  // namespace denoise
