#include "server/server_health.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "grpc/health/v1/health.grpc.pb.h"

namespace denoise {
namespace {

using grpc::health::v1::HealthCheckResponse;
using testing::HasSubstr;

constexpr char kService[] = "denoised.v1.ImageGeneration";

class ServerHealthTest : public testing::Test {
 protected:
  ServerHealthTest() {
    grpc::EnableDefaultHealthCheckService(true);
    listener_.server = grpc::ServerBuilder().BuildAndStart();
    listener_.services = {kService};
    stub_ = grpc::health::v1::Health::NewStub(listener_.server->InProcessChannel({}));
    health_.Publish(&listener_);
  }

  bool IsServing(const std::string& service) {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    EXPECT_TRUE(stub_->Check(&context, request, &response).ok());
    return response.status() == HealthCheckResponse::SERVING;
  }

  // What both probes say, after a look at whether gRPC's health says the same.
  bool IsLive() {
    EXPECT_EQ(IsServing(kLivenessService), health_.Liveness().ok());
    return health_.Liveness().ok();
  }
  bool IsReady() {
    EXPECT_EQ(IsServing(""), health_.Readiness().ok());
    EXPECT_EQ(IsServing(kService), health_.Readiness().ok());
    return health_.Readiness().ok();
  }

  GrpcListener listener_;
  std::unique_ptr<grpc::health::v1::Health::Stub> stub_;
  ServerHealth health_{/*devices=*/2};
};

TEST_F(ServerHealthTest, AServerWithADeviceIsReadyAndOneWhoseDeviceHasFailedIsNotLive) {
  EXPECT_TRUE(IsLive());
  EXPECT_TRUE(IsReady());
  health_.OnDeviceFailed("cuda:1");
  EXPECT_FALSE(IsLive());
  EXPECT_TRUE(IsReady());
  EXPECT_THAT(std::string(health_.Liveness().message()), HasSubstr("cuda:1 failed: restart"));
  health_.OnDeviceFailed("cuda:0");
  EXPECT_FALSE(IsLive());
  EXPECT_FALSE(IsReady());
  EXPECT_THAT(std::string(health_.Readiness().message()), HasSubstr("no device works"));
}

TEST_F(ServerHealthTest, ADeviceThatHangsCountsAsLostUntilItAnswers) {
  health_.OnDeviceHangs("cuda:1", true);
  EXPECT_FALSE(IsLive());
  EXPECT_TRUE(IsReady());
  EXPECT_THAT(std::string(health_.Liveness().message()), HasSubstr("cuda:1 has not answered"));
  health_.OnDeviceFailed("cuda:1");
  EXPECT_TRUE(IsReady()) << "a device counts once";
  health_.OnDeviceHangs("cuda:1", false);
  EXPECT_FALSE(IsLive());
  health_.OnDeviceHangs("cuda:0", true);
  EXPECT_FALSE(IsReady());
  health_.OnDeviceHangs("cuda:0", false);
  EXPECT_TRUE(IsReady());
}

TEST_F(ServerHealthTest, AHangThatEndsLeavesTheServerLive) {
  health_.OnDeviceHangs("cuda:0", true);
  health_.OnDeviceHangs("cuda:1", true);
  EXPECT_FALSE(IsReady());
  health_.OnDeviceHangs("cuda:0", false);
  health_.OnDeviceHangs("cuda:1", false);
  EXPECT_TRUE(IsLive());
  EXPECT_TRUE(IsReady());
}

TEST_F(ServerHealthTest, AServerThatDrainsIsLiveAndNotReady) {
  health_.OnDraining();
  EXPECT_TRUE(IsLive());
  EXPECT_FALSE(IsReady());
  health_.OnDeviceFailed("cuda:1");
  EXPECT_FALSE(IsLive());
  EXPECT_FALSE(IsReady());
}

TEST_F(ServerHealthTest, WhatHappensBeforeAndAfterItIsPublishedHarmsNothing) {
  ServerHealth early(1);
  early.OnDeviceFailed("cpu");
  early.Publish(&listener_);
  EXPECT_FALSE(IsServing(kLivenessService));
  EXPECT_FALSE(IsServing(""));
  early.Withdraw();
  health_.Withdraw();
  listener_.server.reset();
  health_.OnDeviceFailed("cpu");
  EXPECT_FALSE(health_.Liveness().ok());
}

}  // namespace
}  // namespace denoise
