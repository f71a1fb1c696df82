#include "client/bench/own_server.h"

#include <sys/stat.h>

#include <csignal>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

// A program that does what `script` says in place of a server.
class OwnServerTest : public testing::Test {
 protected:
  std::string Program(const std::string& script) {
    const std::filesystem::path path = folder_.path() / "program";
    WriteFile(path, absl::StrCat("#!/bin/sh\n", script));
    chmod(path.c_str(), 0700);
    return path.string();
  }

  TempDir folder_;
  Cancellation cancellation_;
};

TEST_F(OwnServerTest, ListensWhereItSays) {
  const auto server =
      OwnServer::Start(Program("echo starting; echo \"listening on $1:7\"; exec sleep 600"),
                       {"host"}, cancellation_);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ((*server)->address(), "host:7");
  EXPECT_TRUE((*server)->CheckRunning().ok());
}

TEST_F(OwnServerTest, OneThatDoesNotListenSaysWhy) {
  const absl::Status status =
      OwnServer::Start(Program("echo there are no models >&2; exit 1"), {}, cancellation_).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("there are no models"));
  EXPECT_TRUE(
      absl::IsFailedPrecondition(OwnServer::Start("/nowhere/at/all", {}, cancellation_).status()));
}

TEST_F(OwnServerTest, OneThatEndsIsNoticed) {
  const auto server =
      OwnServer::Start(Program("echo listening on a:1; read line < \"$1\"; echo out of luck >&2"),
                       {(folder_.path() / "pipe").string()}, cancellation_);
  // Nobody made the pipe, so the program ends at once.
  ASSERT_TRUE(server.ok()) << server.status();
  absl::Status status;
  while (status.ok()) status = (*server)->CheckRunning();
  EXPECT_THAT(std::string(status.message()), HasSubstr("out of luck"));
}

TEST_F(OwnServerTest, EndsWithItsOwner) {
  const std::filesystem::path pid_file = folder_.path() / "pid";
  {
    const auto server =
        OwnServer::Start(Program(absl::StrCat("echo $$ > ", pid_file.string(),
                                              "; echo listening on a:1; exec sleep 600")),
                         {}, cancellation_);
    ASSERT_TRUE(server.ok()) << server.status();
  }
  EXPECT_EQ(kill(std::stoi(ReadFile(pid_file)), 0), -1) << "it still runs";
}

TEST_F(OwnServerTest, AnInterruptionEndsTheWait) {
  cancellation_.Cancel();
  EXPECT_TRUE(
      absl::IsCancelled(OwnServer::Start(Program("exec sleep 600"), {}, cancellation_).status()));
}

}  // namespace
}  // namespace denoise
