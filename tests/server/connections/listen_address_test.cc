#include "server/connections/listen_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

TEST(ParseListenAddress, TakesHostsAddressesAndUnixSockets) {
  const auto host_and_port = [](const char* text) {
    const auto address = ParseListenAddress(text);
    return address.ok() ? address->host + " " + std::to_string(address->port)
                        : std::string(address.status().message());
  };
  EXPECT_EQ(host_and_port("127.0.0.1:50051"), "127.0.0.1 50051");
  EXPECT_EQ(host_and_port("localhost:0"), "localhost 0");
  EXPECT_EQ(host_and_port("[::1]:65535"), "::1 65535");
  EXPECT_EQ(host_and_port(":80"), " 80");
  EXPECT_EQ(ParseListenAddress("unix:/run/denoised")->unix_path, "/run/denoised");
}

TEST(ParseListenAddress, RefusesWhatIsNone) {
  for (const char* text :
       {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:65536", "127.0.0.1:-1",
        "127.0.0.1:+1", "127.0.0.1: 1", "127.0.0.1:0x10", "127.0.0.1:4294967297", "::1:50051",
        "localhost:http", "unix:", "127.0.0.1:1 "}) {
    const absl::Status status = ParseListenAddress(text).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("must be HOST:PORT")) << text;
  }
}

TEST(ListeningSockets, TakeAFreePortAndHoldItAlone) {
  for (const char* host : {"127.0.0.1:", "localhost:", "0.0.0.0:"}) {
    const auto first = ListeningSockets::Open(*ParseListenAddress(std::string(host) + "0"));
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_THAT(first->address(), testing::StartsWith(host));
    EXPECT_THAT(first->address(), testing::Not(testing::EndsWith(":0")));
    const auto second = ListeningSockets::Open(*ParseListenAddress(first->address()));
    EXPECT_TRUE(absl::IsUnavailable(second.status()));
    EXPECT_THAT(std::string(second.status().message()), HasSubstr("in use"));
  }
}

TEST(ListeningSockets, SayWhyTheyCannotListen) {
  EXPECT_THAT(
      std::string(ListeningSockets::Open(*ParseListenAddress("192.0.2.1:0")).status().message()),
      HasSubstr("does not have that address"));
  EXPECT_TRUE(absl::IsUnavailable(
      ListeningSockets::Open(*ParseListenAddress("no-such-host.invalid:0")).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      ListeningSockets::Open({.host = "", .port = 0, .unix_path = std::string(200, 'a')})
          .status()));
}

TEST(ListeningSockets, AnAddressIsFreeUntilSomebodyListensThere) {
  const auto free = [](const std::string& address) {
    return ListeningSockets::CheckFree(*ParseListenAddress(address));
  };
  std::string address;
  {
    const auto held = ListeningSockets::Open(*ParseListenAddress("127.0.0.1:0"));
    ASSERT_TRUE(held.ok()) << held.status();
    address = held->address();
    EXPECT_THAT(std::string(free(address).message()), HasSubstr("in use"));
  }
  EXPECT_EQ(free(address), absl::OkStatus());
  EXPECT_TRUE(ListeningSockets::Open(*ParseListenAddress(address)).ok()) << "held by the check";
  EXPECT_THAT(std::string(free("192.0.2.1:0").message()), HasSubstr("does not have that address"));
}

TEST(ListeningSockets, AFileInThePlaceOfAUnixSocketIsKept) {
  const TempDir folder;
  const std::filesystem::path path = folder.path() / "precious";
  WriteFile(path, "precious");
  const ListenAddress address{.host = "", .port = 0, .unix_path = path};
  EXPECT_FALSE(ListeningSockets::Open(address).ok());
  EXPECT_EQ(ReadFile(path), "precious");
}

TEST(ListeningSockets, AUnixSocketThatNobodyListensOnAnyMoreIsReplaced) {
  const TempDir folder;
  const ListenAddress address{.host = "", .port = 0, .unix_path = folder.path() / "socket"};
  ASSERT_TRUE(ListeningSockets::Open(address).ok());  // closed at once; its file stays
  ASSERT_TRUE(std::filesystem::exists(address.unix_path));
  const auto again = ListeningSockets::Open(address);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_FALSE(ListeningSockets::Open(address).ok());
}

}  // namespace
}  // namespace denoise
