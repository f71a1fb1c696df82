#include "client/server_address.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

std::vector<std::pair<std::string, std::string>> Pairs(std::string_view address) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const Endpoint& endpoint : EndpointsOf(address)) {
    pairs.emplace_back(endpoint.host, endpoint.port);
  }
  return pairs;
}

TEST(ServerAddress, HasAHostAndAPortForEachEndpoint) {
  EXPECT_THAT(Pairs("gpu:50051"), ElementsAre(Pair("gpu", "50051")));
  EXPECT_THAT(Pairs("dns:///gpu:1"), ElementsAre(Pair("gpu", "1")));
  EXPECT_THAT(Pairs("dns:gpu:1"), ElementsAre(Pair("gpu", "1")));
  EXPECT_THAT(Pairs("dns://8.8.8.8:53/gpu:1"), ElementsAre(Pair("gpu", "1")));
  EXPECT_THAT(Pairs("[::1]:50051"), ElementsAre(Pair("::1", "50051")));
  EXPECT_THAT(Pairs("ipv6:[fd00::1]:1,[fd00::2]:2"),
              ElementsAre(Pair("fd00::1", "1"), Pair("fd00::2", "2")));
  EXPECT_THAT(Pairs("gpu"), ElementsAre(Pair("gpu", "")));
  EXPECT_THAT(Pairs("::1"), ElementsAre(Pair("::1", "")));
  EXPECT_THAT(Pairs("unix:/run/denoised.sock"), IsEmpty());
}

TEST(ServerAddress, IsGoodWhereGrpcCallsWhatWasMeant) {
  for (const char* address :
       {"127.0.0.1:50051", "gpu.example.com:1", "[::1]:65535", "dns:///gpu:50051", "dns:gpu:1",
        "ipv4:10.0.0.1:1,10.0.0.2:1", "unix:/run/denoised.sock", "unix-abstract:denoised"}) {
    EXPECT_TRUE(CheckServerAddress(address).ok()) << address;
  }
}

TEST(ServerAddress, IsRefusedWhereGrpcWouldGuess) {
  for (const char* address : {"",
                              " ",
                              "gpu",
                              "127.0.0.1",
                              "gpu:",
                              "gpu:0",
                              "gpu:65536",
                              "gpu:99999",
                              "gpu:port",
                              "gpu:-1",
                              "gpu:+1",
                              "gpu: 1",
                              "gpu:1/",
                              ":50051",
                              "::1:50051",
                              "[::1]",
                              "[::1]x:1",
                              "[]:1",
                              "http://gpu:50051",
                              "https://gpu:50051/",
                              "dns:///gpu",
                              "dns://8.8.8.8",
                              "me@gpu:1",
                              "ipv4:10.0.0.1:1,",
                              "ipv4:gpu:1",
                              "ipv4:1.2.3.4.5:1",
                              "ipv6:127.0.0.1:1",
                              "local?host:1",
                              "local#host:1",
                              "%41:1",
                              "gpu:1,gpu2:2",
                              "dns:///a:1,b:2",
                              "ipv4:10.0.0.1:1,10.0.0.2:99999",
                              "two words:1",
                              "g\x1b[1mpu:1"}) {
    const absl::Status status = CheckServerAddress(address);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_THAT(std::string(status.message()), HasSubstr("must be HOST:PORT")) << address;
    EXPECT_EQ(status.message().find('\x1b'), absl::string_view::npos);
  }
  const std::string long_path = "unix:/" + std::string(200, 'x');
  EXPECT_THAT(std::string(CheckServerAddress(long_path).message()), HasSubstr("has one of 201"));
  EXPECT_FALSE(CheckServerAddress("unix://host/x").ok());
  EXPECT_THAT(std::string(CheckServerAddress("unix:").message()), HasSubstr("has one of 0"));
}

TEST(ServerAddress, IsThisMachineOnlyIfEveryEndpointIs) {
  for (const char* address :
       {"127.0.0.1:50051", "127.8.9.10:1", "localhost:50051", "LOCALHOST:1", "[::1]:50051",
        "dns:///localhost:50051", "ipv4:127.0.0.1:1", "unix:/run/denoised.sock", "localhost",
        "ipv4:127.0.0.1:1,127.0.0.1:2"}) {
    EXPECT_TRUE(IsLoopback(address)) << address;
  }
  for (const char* address :
       {"10.0.0.1:50051", "localhost.example.com:1", "127.example.com:1", "[::2]:1",
        "dns:///gpu:50051", "127.0.0.256:1", "127.0.0.+1:1", "", "ipv4:127.0.0.1:1,10.0.0.1:1"}) {
    EXPECT_FALSE(IsLoopback(address)) << address;
  }
}

}  // namespace
}  // namespace denoise
