// Watching what the server does, over a real connection and with the real engine.
#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <memory>
#include <string>

#include "tests/server/rpc/service_fixture.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using google::protobuf::util::TimeUtil;

class ActivityCallTest : public ServiceTest {
 protected:
  using Reader = std::unique_ptr<grpc::ClientReader<v1::ActivitySnapshot>>;

  static v1::WatchActivityRequest Every(int64_t milliseconds) {
    v1::WatchActivityRequest request;
    *request.mutable_interval() = TimeUtil::MillisecondsToDuration(milliseconds);
    return request;
  }

  Reader Watch(grpc::ClientContext& context, const v1::WatchActivityRequest& request = Every(50)) {
    return activity_stub_->WatchActivity(&context, request);
  }

  // Starts a generation that runs on.
  void StartGeneration(const std::string& id, int count) {
    grpc::ClientContext context;
    v1::GenerateRequest request;
    request.set_model("models/faces");
    request.set_count(count);
    request.mutable_sampler()->set_steps(1000);
    request.set_request_id(id);
    request.set_on_disconnect(v1::ON_DISCONNECT_DETACH);
    const auto reader = stub_->Generate(&context, request);
    v1::GenerateEvent accepted;
    EXPECT_TRUE(reader->Read(&accepted));
    context.TryCancel();
    reader->Finish();
  }

  void Cancel(const std::string& id) {
    grpc::ClientContext context;
    v1::CancelGenerationRequest request;
    request.set_name("generations/" + id);
    v1::Generation generation;
    EXPECT_TRUE(generations_stub_->CancelGeneration(&context, request, &generation).ok());
  }

  // Reads until a snapshot is as `wanted` says, and returns it.
  static v1::ActivitySnapshot ReadUntil(
      const Reader& reader, const std::function<bool(const v1::ActivitySnapshot&)>& wanted) {
    v1::ActivitySnapshot snapshot;
    while (reader->Read(&snapshot)) {
      if (wanted(snapshot)) return snapshot;
    }
    ADD_FAILURE() << reader->Finish().error_message();
    return {};
  }

  static bool IsIdle(const v1::ActivitySnapshot& snapshot) {
    return snapshot.devices(0).turn() == v1::DeviceActivity::IDLE;
  }

  std::unique_ptr<v1::Activity::Stub> activity_stub_ = v1::Activity::NewStub(channel_);
};

TEST_F(ActivityCallTest, ShowsTheRowsOfARunningBatchAndWhoWaits) {
  grpc::ClientContext context;
  const Reader reader = Watch(context);
  const v1::ActivitySnapshot first = ReadUntil(reader, [](const auto&) { return true; });
  EXPECT_TRUE(IsIdle(first));
  EXPECT_EQ(first.devices(0).device(), "cpu");
  EXPECT_EQ(first.devices(0).max_batch_rows(), 16);
  EXPECT_EQ(first.devices(0).max_active_rows(), 64);
  EXPECT_EQ(first.max_queued(), 64);

  for (const char* id : {"running", "beside"}) StartGeneration(id, 64);  // each has half the loop
  StartGeneration("waiting", 3);
  const v1::ActivitySnapshot busy = ReadUntil(reader, [](const auto& snapshot) {
    return snapshot.queue_size() > 0 && snapshot.devices(0).images_size() > 0 &&
           snapshot.devices(0).active_rows() == 64;
  });
  const v1::DeviceActivity& device = busy.devices(0);
  EXPECT_EQ(device.turn(), v1::DeviceActivity::EVALUATE);
  EXPECT_EQ(device.images_size(), 16);
  for (const v1::ActiveImage& image : device.images()) {
    EXPECT_THAT(image.generation(), testing::AnyOf("generations/running", "generations/beside"));
    EXPECT_EQ(image.model(), "models/faces");
    EXPECT_EQ(image.rows(), 1);
    EXPECT_EQ(image.steps(), 1000);
    EXPECT_TRUE(image.has_timestep());
  }
  EXPECT_EQ(busy.queued(), 1);
  EXPECT_EQ(busy.queue(0).generation(), "generations/waiting");
  EXPECT_EQ(busy.queue(0).model(), "models/faces");
  EXPECT_EQ(busy.queue(0).count(), 3);
  EXPECT_EQ(busy.queue(0).steps(), 1000);
  EXPECT_GE(busy.queue_wait().samples(), 1);

  for (const char* id : {"waiting", "running", "beside"}) Cancel(id);
  const v1::ActivitySnapshot over = ReadUntil(
      reader, [](const auto& snapshot) { return IsIdle(snapshot) && snapshot.queued() == 0; });
  EXPECT_EQ(over.devices(0).images_size(), 0);
  EXPECT_GT(over.devices(0).evaluations(), 0);
  EXPECT_GE(over.devices(0).rows(), over.devices(0).evaluations());
  EXPECT_GT(TimeUtil::DurationToNanoseconds(over.devices(0).evaluating()), 0);
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(ActivityCallTest, AnIntervalOutOfRangeIsRefusedByName) {
  v1::WatchActivityRequest negative;
  negative.mutable_interval()->set_seconds(-1);
  v1::WatchActivityRequest zero;
  zero.mutable_interval();
  v1::WatchActivityRequest huge;
  huge.mutable_interval()->set_seconds(std::numeric_limits<int64_t>::max());
  huge.mutable_interval()->set_nanos(std::numeric_limits<int32_t>::max());
  v1::WatchActivityRequest two_signs;
  two_signs.mutable_interval()->set_seconds(1);
  two_signs.mutable_interval()->set_nanos(-900'000'000);
  for (const auto& request : {Every(49), Every(60'001), negative, zero, huge, two_signs}) {
    grpc::ClientContext context;
    const Reader reader = Watch(context, request);
    v1::ActivitySnapshot snapshot;
    EXPECT_FALSE(reader->Read(&snapshot));
    const grpc::Status status = reader->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), testing::HasSubstr("interval: must be between 50ms and"));
  }
}

TEST_F(ActivityCallTest, AWatcherOfAnIdleServerDoesNotHoldUpADrain) {
  grpc::ClientContext context;
  const Reader reader = Watch(context);
  ReadUntil(reader, [](const auto&) { return true; });
  live_calls_.StartDraining();
  telemetry_.activity().WakeAll();
  v1::ActivitySnapshot snapshot;
  EXPECT_FALSE(reader->Read(&snapshot));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(ActivityCallTest, ShortageOfMemoryRefusesANewWatcherAndKeepsTheOthers) {
  grpc::ClientContext context;
  const Reader reader = Watch(context);
  StartGeneration("running", 64);  // an idle server has nothing to show
  ReadUntil(reader, [](const auto& snapshot) { return !IsIdle(snapshot); });
  short_of_memory_ = true;
  grpc::ClientContext late_context;
  const Reader late = Watch(late_context);
  v1::ActivitySnapshot snapshot;
  EXPECT_FALSE(late->Read(&snapshot));
  EXPECT_EQ(late->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(reader->Read(&snapshot));
  Cancel("running");
  context.TryCancel();
  reader->Finish();
}

}  // namespace
}  // namespace denoise
