#include "client/cli/flags/lost_connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/flags/connection_flags.h"
#include "client/connection_problem.h"
#include "core/base/error_details.h"
#include "tests/client/raw_server.h"

namespace denoise {
namespace {

const absl::Status& Lost() {
  static const auto* const lost =
      new absl::Status(absl::UnavailableError("no connection to x (y)"));
  return *lost;
}

// Its clients find out that it is not gRPC.
class LostConnectionTest : public testing::Test {
 protected:
  ClientOptions Options(std::optional<absl::Duration> deadline = std::nullopt) const {
    ConnectionFlags flags;
    flags.server = server_.address();
    flags.deadline = deadline;
    return MakeClientOptions(flags).value();
  }

  std::atomic<int> connections_ = 0;
  const RawServer server_{[this](int socket) {
    ++connections_;
    RawServer::Saying("HTTP/1.1 400 Bad Request\r\n\r\n")(socket);
  }};
};

TEST_F(LostConnectionTest, IsExplainedOnce) {
  (void)Options();
  EXPECT_EQ(connections_, 0);
  const absl::Status explained = ExplainLostConnection(Lost());
  EXPECT_TRUE(absl::IsUnavailable(explained));
  EXPECT_EQ(explained.message(), absl::StrCat("no connection to ", server_.address(),
                                              ": HTTP/1.1 is served there, not gRPC"));
  EXPECT_EQ(GetErrorReason(explained), kNotGrpc);
  const int connections = connections_;
  EXPECT_EQ(ExplainLostConnection(Lost()), Lost());
  EXPECT_EQ(connections_, connections);
}

TEST_F(LostConnectionTest, IsNotExplainedOnceACallWasAnswered) {
  *Options().answered = true;
  EXPECT_EQ(ExplainLostConnection(Lost()), Lost());
  EXPECT_EQ(connections_, 0);
}

TEST_F(LostConnectionTest, OtherFailuresAreNotExplained) {
  (void)Options();
  const absl::Status failure = absl::DeadlineExceededError("too late");
  EXPECT_EQ(ExplainLostConnection(failure), failure);
  EXPECT_EQ(connections_, 0);
}

TEST_F(LostConnectionTest, ADeadlineThatHasPassedLeavesNoTimeForALook) {
  (void)Options(absl::Nanoseconds(1));
  EXPECT_EQ(ExplainLostConnection(Lost()), Lost());
  EXPECT_EQ(connections_, 0);
}

}  // namespace
}  // namespace denoise
