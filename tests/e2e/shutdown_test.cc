// SIGTERM: what runs may finish, what is new is refused, and the process ends cleanly.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "denoised/v1/activity.grpc.pb.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/server_process.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using testing::SizeIs;

class ShutdownTest : public testing::Test {
 protected:
  ShutdownTest() { models_.AddGuided(); }

  ModelsFolder models_;
};

TEST_F(ShutdownTest, RunningRequestsFinishAndNewOnesAreRefused) {
  const auto server = StartServer(models_.path(), {"--drain-seconds", "600"});
  auto request = GuidedRequest(/*steps=*/1000);
  request.set_count(8);
  BackgroundCall running(server->generation(), request);
  ASSERT_TRUE(Eventually([&] { return running.Started(); }));

  server->process().Signal(SIGTERM);
  // The signal takes a moment to arrive; what slips in before it is short and finishes.
  grpc::Status refused;
  ASSERT_TRUE(Eventually([&] {
    refused = Generate(server->generation(), GuidedRequest(/*steps=*/1)).status;
    return !refused.ok();
  }));
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE) << refused.error_message();
  EXPECT_FALSE(running.Finished()) << "refused only because everything had ended";

  EXPECT_TRUE(running.Join().status.ok()) << running.Join().status.error_message();
  EXPECT_THAT(running.Join().Images(), SizeIs(8));
  EXPECT_EQ(server->process().Wait(kPatience), kExitedCleanly);
}

// A file that the server opens must not become its standard output.
TEST_F(ShutdownTest, ClosedStandardStreamsHarmNothing) {
  const TempDir folder;
  const std::string listen = "unix:" + (folder.path() / "socket").string();
  const std::string state = (folder.path() / "state").string();
  const auto server = *Subprocess::Start({"/bin/sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh",
                                          DenoisedBinary(), "--models", models_.path().string(),
                                          "--listen", listen, "--http", "off", "--state", state});
  ASSERT_TRUE(Eventually([&] {
    return RunProcess({DenoiseBinary(), "health", "--server", listen}, kPatience)->exit_status ==
           kExitedCleanly;
  }));
  EXPECT_EQ(std::filesystem::file_size(folder.path() / "state/lock"), 0u);
  server->Signal(SIGTERM);
  EXPECT_EQ(server->Wait(kPatience), kExitedCleanly);
}

TEST_F(ShutdownTest, AnIdleServerEndsAtOnce) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    // Waiting out the drain would take longer than the patience.
    const auto server = StartServer(models_.path(), {"--drain-seconds", "600"});
    for (const int ignored : {SIGUSR1, SIGUSR2, SIGPIPE}) server->process().Signal(ignored);
    server->process().Signal(signal);
    EXPECT_EQ(server->process().Wait(kPatience), kExitedCleanly);
  }
}

TEST_F(ShutdownTest, NobodyWhoOnlyWatchesHoldsItUp) {
  const auto server = StartServer(models_.path(), {"--drain-seconds", "600"});
  grpc::ClientContext context;
  const auto watch = server->models().WatchModels(&context, {});
  denoised::v1::ModelEvent event;
  while (!event.has_complete()) ASSERT_TRUE(watch->Read(&event));
  const auto activity_stub = denoised::v1::Activity::NewStub(server->channel());
  grpc::ClientContext activity_context;
  const auto activity = activity_stub->WatchActivity(&activity_context, {});
  denoised::v1::ActivitySnapshot snapshot;
  ASSERT_TRUE(activity->Read(&snapshot));
  server->process().Signal(SIGTERM);
  EXPECT_FALSE(watch->Read(&event));
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  while (activity->Read(&snapshot)) continue;  // what has changed meanwhile
  EXPECT_EQ(activity->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(server->process().Wait(kPatience), kExitedCleanly);
}

TEST_F(ShutdownTest, WhatIsNotDoneByTheDrainDeadlineEndsUnavailable) {
  const auto server = StartServer(models_.path(), {"--drain-seconds", "0"});
  auto request = GuidedRequest(/*steps=*/1000);
  request.set_count(64);
  BackgroundCall running(server->generation(), request);
  ASSERT_TRUE(Eventually([&] { return running.Started(); }));
  server->process().Signal(SIGTERM);
  EXPECT_EQ(running.Join().status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(DetailsOf<google::rpc::RetryInfo>(running.Join().status), SizeIs(1));
  EXPECT_EQ(server->process().Wait(kPatience), kExitedCleanly);
}

}  // namespace
}  // namespace denoise
