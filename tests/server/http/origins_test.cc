#include "server/http/origins.h"

#include <gtest/gtest.h>

namespace denoise {
namespace {

Origins Parsed(const std::vector<std::string>& allowed, bool loopback_only = true) {
  return *Origins::Parse(allowed, loopback_only);
}

TEST(Origins, AServersOwnPagesMayUseIt) {
  const Origins origins = Parsed({});
  EXPECT_TRUE(origins.Allows("", "127.0.0.1:8080"));
  EXPECT_TRUE(origins.Allows("http://127.0.0.1:8080", "127.0.0.1:8080"));
  EXPECT_TRUE(origins.Allows("http://LOCALHOST:8080", "localhost:8080"));
  EXPECT_FALSE(origins.Allows("http://localhost:3000", "localhost:8080")) << "another port";
  EXPECT_FALSE(origins.Allows("https://evil.example", "localhost:8080"));
  EXPECT_FALSE(origins.Allows("null", "localhost:8080")) << "a sandboxed page";
}

TEST(Origins, TheOperatorMayAllowOthers) {
  const Origins origins = Parsed({"https://Dash.example", "http://localhost:3000"});
  EXPECT_TRUE(origins.Allows("https://dash.example", "localhost:8080"));
  EXPECT_TRUE(origins.Allows("http://localhost:3000", "localhost:8080"));
  EXPECT_FALSE(origins.Allows("http://dash.example", "localhost:8080")) << "another scheme";
  EXPECT_FALSE(origins.Allows("https://dash.example.evil.example", "localhost:8080"));
  EXPECT_TRUE(Parsed({"*"}).Allows("https://evil.example", "localhost:8080"));
}

TEST(Origins, AServerOnLoopbackIsKnownByNoOtherName) {
  const Origins origins = Parsed({"https://dash.example"});
  for (const char* host : {"localhost:8080", "127.0.0.1:8080", "[::1]:8080", "192.0.2.7",
                           "LocalHost", "app.localhost:8080", "dash.example"}) {
    EXPECT_TRUE(origins.KnowsHost(host)) << host;
  }
  for (const char* host :
       {"evil.example:8080", "", "localhost.evil.example", "127.0.0.1.evil.example"}) {
    EXPECT_FALSE(origins.KnowsHost(host)) << host;
  }
  EXPECT_TRUE(Parsed({}, /*loopback_only=*/false).KnowsHost("images.example"));
}

TEST(Origins, WhatIsNoneIsRefused) {
  for (const char* text :
       {"", "example.org", "ftp://example.org", "https://", "https://a/b", "https://a b"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Origins::Parse({text}, true).status())) << text;
  }
}

}  // namespace
}  // namespace denoise
