// A whole server whose only device fails: what callers, probes, metrics and watchers are told.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "core/base/error_details.h"
#include "core/base/retry.h"
#include "denoised/v1/activity.grpc.pb.h"
#include "server/server.h"
#include "tests/core/device/failing_runtime.h"
#include "tests/support/http_get.h"
#include "tests/support/metrics_text.h"
#include "tests/support/raw_connection.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using testing::HasSubstr;
using Turn = denoised::v1::DeviceActivity;

class DeviceFailureTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { FailingRuntime::Register(); }
  void TearDown() override {
    server_.reset();
    FailingRuntime::all_fail = false;
  }

  static ServerFlags Flags() {
    ServerFlags flags;
    flags.models = "deploy/models";
    flags.listen = flags.http = "127.0.0.1:0";
    flags.device = "cpu";
    flags.threads = 1;
    return flags;
  }

  void Start(const ServerFlags& flags) {
    auto server = Server::Start(flags);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    client_.emplace(ClientOptions{.address = server_->address()});
  }

  absl::Status Generate() {
    denoised::v1::GenerateRequest request;
    request.set_model("models/emoji-32");
    request.set_class_label(0);
    request.mutable_sampler()->set_steps(1);
    GenerateStream stream = client_->Generate(request);
    while (true) {
      const auto event = stream.Next();
      if (!event.ok()) return event.status();
      if (!event->has_value()) return absl::OkStatus();
    }
  }

  std::string Probe(const std::string& path) const {
    RawConnection connection(server_->http_address());
    connection.Send(absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    return connection.ReadAnswer();
  }

  // What the device does, as a new watcher of the activity hears it.
  Turn::Turn TurnOfDevice() const {
    const auto stub = denoised::v1::Activity::NewStub(
        grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    const auto watch = stub->WatchActivity(&context, {});
    denoised::v1::ActivitySnapshot snapshot;
    while (watch->Read(&snapshot) && snapshot.devices(0).turn() != Turn::FAILED) continue;
    const Turn::Turn turn = snapshot.devices(0).turn();
    context.TryCancel();
    return turn;
  }

  std::unique_ptr<Server> server_;
  std::optional<Client> client_;
};

TEST_F(DeviceFailureTest, TurnsLivenessFalseAndRefusesRequestsWithAHintToRetry) {
  Start(Flags());
  EXPECT_EQ(Generate(), absl::OkStatus());
  EXPECT_EQ(*client_->CheckHealth("liveness"), Health::kServing);
  EXPECT_EQ(*client_->CheckHealth(), Health::kServing);
  EXPECT_THAT(Probe("/healthz"), HasSubstr(" 200 "));
  EXPECT_THAT(Probe("/readyz"), HasSubstr(" 200 "));

  FailingRuntime::all_fail = true;
  const absl::Status refused = Generate();

  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_EQ(GetErrorReason(refused), kDeviceFailedReason);
  EXPECT_TRUE(GetRetryDelay(refused).has_value());
  EXPECT_EQ(*client_->CheckHealth("liveness"), Health::kNotServing);
  EXPECT_EQ(*client_->CheckHealth(), Health::kNotServing);
  EXPECT_THAT(Probe("/healthz"),
              testing::AllOf(HasSubstr(" 503 "), HasSubstr("cpu failed: restart the server")));
  EXPECT_THAT(Probe("/readyz"), testing::AllOf(HasSubstr(" 503 "), HasSubstr("no device works")));
  const auto metrics = HttpGet(server_->http_address(), "/metrics");
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  EXPECT_EQ(MetricsPage(*metrics).Sum("denoised_device_failed", {{"device", "cpu"}}), 1);
  EXPECT_EQ(TurnOfDevice(), Turn::FAILED);
}

// No request uses the device, but a model that cannot be loaded makes the engine look at it.
TEST_F(DeviceFailureTest, IsNoticedByAModelThatCannotBeLoaded) {
  const TempDir folder;
  ServerFlags flags = Flags();
  flags.state = (folder.path() / "state").string();  // so that it may begin without a model
  FailingRuntime::all_fail = true;
  Start(flags);
  EXPECT_EQ(TurnOfDevice(), Turn::FAILED);
  EXPECT_THAT(Probe("/healthz"), HasSubstr(" 503 "));
}

}  // namespace
}  // namespace denoise
