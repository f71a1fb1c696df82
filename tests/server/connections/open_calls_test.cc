#include "server/connections/open_calls.h"

#include <gtest/gtest.h>

#include <string>

namespace denoise {
namespace {

const absl::Time kStart = absl::UnixEpoch();

absl::Time At(int second) { return kStart + absl::Seconds(second); }

Http2Frame Frame(uint8_t type, uint8_t flags, uint32_t stream) {
  return {.length = 0, .type = type, .flags = flags, .stream = stream};
}

std::string Bytes(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload = "") {
  const auto byte = [](uint64_t value) { return static_cast<char>(value & 0xff); };
  return std::string{byte(payload.size() >> 16),
                     byte(payload.size() >> 8),
                     byte(payload.size()),
                     byte(type),
                     byte(flags),
                     byte(stream >> 24),
                     byte(stream >> 16),
                     byte(stream >> 8),
                     byte(stream)} +
         payload;
}

class OpenCallsTest : public testing::Test {
 protected:
  void Call(uint32_t stream) {
    calls_.OnClientFrame(Frame(Http2Frame::kHeaders, Http2Frame::kEndHeaders, stream), At(1));
  }

  OpenCalls calls_{kStart};
};

TEST_F(OpenCallsTest, AConnectionIsIdleUntilTheHeadersOfACallAreComplete) {
  EXPECT_EQ(calls_.idle_since(), kStart);
  calls_.OnClientFrame(Frame(Http2Frame::kSettings, 0, 0), At(1));
  calls_.OnClientFrame(Frame(Http2Frame::kHeaders, 0, 1), At(1));
  EXPECT_EQ(calls_.idle_since(), kStart) << "a client could send the rest never";
  calls_.OnClientFrame(Frame(Http2Frame::kContinuation, Http2Frame::kEndHeaders, 1), At(2));
  EXPECT_EQ(calls_.idle_since(), absl::InfiniteFuture());
}

TEST_F(OpenCallsTest, TheServersTrailersOrResetEndACall) {
  Call(1);
  Call(3);
  calls_.OnServerBytes(Bytes(Http2Frame::kHeaders, Http2Frame::kEndHeaders, 1), At(2));
  calls_.OnServerBytes(Bytes(Http2Frame::kData, 0, 1, "a picture"), At(3));
  calls_.OnServerBytes(
      Bytes(Http2Frame::kHeaders, Http2Frame::kEndHeaders | Http2Frame::kEndStream, 1), At(4));
  EXPECT_EQ(calls_.idle_since(), absl::InfiniteFuture());
  calls_.OnServerBytes(Bytes(Http2Frame::kRstStream, 0, 3, "code"), At(5));
  EXPECT_EQ(calls_.idle_since(), At(5));
}

TEST_F(OpenCallsTest, TheServersFramesMayBeSplitAnywhere) {
  Call(1);
  const std::string bytes = Bytes(Http2Frame::kData, 0, 1, std::string(20, '\1')) +
                            Bytes(Http2Frame::kData, Http2Frame::kEndStream, 1, "end");
  for (const char byte : bytes) {
    EXPECT_EQ(calls_.idle_since(), absl::InfiniteFuture());
    calls_.OnServerBytes({&byte, 1}, At(6));
    if (calls_.idle_since() == At(6)) break;
  }
  EXPECT_EQ(calls_.idle_since(), At(6));
}

TEST_F(OpenCallsTest, AClientThatCancelsIsIdleAndTrailersOpenNothing) {
  Call(1);
  calls_.OnClientFrame(Frame(Http2Frame::kRstStream, 0, 1), At(7));
  EXPECT_EQ(calls_.idle_since(), At(7));
  Call(1);
  EXPECT_EQ(calls_.idle_since(), At(7)) << "the numbers of calls rise";
}

TEST_F(OpenCallsTest, AnyNumberOfOpenCallsTakesBoundedMemory) {
  for (uint32_t stream = 1; stream < 20'001; stream += 2) Call(stream);
  EXPECT_EQ(calls_.idle_since(), absl::InfiniteFuture());
  for (uint32_t stream = 1; stream < 20'001; stream += 2)
    calls_.OnClientFrame(Frame(Http2Frame::kRstStream, 0, stream), At(8));
  EXPECT_EQ(calls_.idle_since(), At(8));
}

}  // namespace
}  // namespace denoise
