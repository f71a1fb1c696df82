// Diffuse over a real connection.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "core/image/image.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/server/rpc/service_fixture.h"

namespace denoise {
namespace {

using denoised::v1::DiffusedFrame;
using denoised::v1::DiffuseEvent;
using denoised::v1::DiffuseRequest;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

constexpr uint8_t kGray = 191;

// A picture of one gray, larger than the model's.
std::string GrayPng() {
  const Image image{20, 10, 1, std::vector<uint8_t>(200, kGray)};
  return EncodeImage(image, ImageFormat::kPng).value();
}

std::vector<float> Values(const DiffusedFrame& frame) {
  const std::string& data = frame.image().data();
  std::vector<float> values(data.size() / sizeof(float));
  std::memcpy(values.data(), data.data(), data.size());
  return values;
}

std::vector<std::string> ViolatedFields(const grpc::Status& status) {
  google::rpc::Status rich;
  rich.ParseFromString(status.error_details());
  std::vector<std::string> fields;
  for (const auto& any : rich.details()) {
    google::rpc::BadRequest bad_request;
    if (!any.UnpackTo(&bad_request)) continue;
    for (const auto& violation : bad_request.field_violations())
      fields.push_back(violation.field());
  }
  return fields;
}

class DiffuseCallTest : public ServiceTest {
 protected:
  static DiffuseRequest Request() {
    DiffuseRequest request;
    request.set_model("models/faces");
    request.add_pictures()->set_data(GrayPng());
    request.set_seed(7);
    request.set_encoding(denoised::v1::ENCODING_RAW_FLOAT32);
    return request;
  }

  // All events of a call, and its status.
  grpc::Status Diffuse(const DiffuseRequest& request) {
    events_.clear();
    context_ = std::make_unique<grpc::ClientContext>();
    auto reader = stub_->Diffuse(context_.get(), request);
    for (DiffuseEvent event; reader->Read(&event);) events_.push_back(event);
    return reader->Finish();
  }

  std::vector<DiffusedFrame> Frames() const {
    std::vector<DiffusedFrame> frames;
    for (const DiffuseEvent& event : events_) {
      if (event.has_frame()) frames.push_back(event.frame());
    }
    return frames;
  }

  std::vector<DiffuseEvent> events_;
};

TEST_F(DiffuseCallTest, StreamsThePictureAndThenEveryLevel) {
  DiffuseRequest request = Request();
  for (const double t : {0., 250., 999.}) request.add_timesteps(t);
  const grpc::Status status = Diffuse(request);
  ASSERT_TRUE(status.ok()) << status.error_message();

  ASSERT_EQ(events_.size(), 1u + 4 + 1);
  for (size_t i = 0; i < events_.size(); ++i) {
    EXPECT_EQ(events_[i].sequence(), static_cast<int64_t>(i));
  }
  const auto& levels = events_.front().accepted().levels();
  ASSERT_EQ(levels.size(), 4);
  EXPECT_FALSE(levels[0].has_timestep());
  EXPECT_EQ(levels[0].alpha_bar(), 1);
  EXPECT_EQ(levels[0].snr(), std::numeric_limits<double>::infinity());
  EXPECT_EQ(levels[2].timestep(), 250);
  EXPECT_NEAR(levels[2].snr(), levels[2].alpha_bar() / (1 - levels[2].alpha_bar()), 1e-9);
  EXPECT_EQ(events_.back().finished().frames(), 4);

  const std::vector<DiffusedFrame> frames = Frames();
  for (const float value : Values(frames[0])) EXPECT_NEAR(value, kGray / 127.5 - 1, 1e-6);
  for (size_t i = 0; i < frames.size(); ++i) {
    EXPECT_EQ(frames[i].level_index(), static_cast<int>(i));
    EXPECT_EQ(frames[i].level().alpha(), levels[static_cast<int>(i)].alpha());
  }
}

TEST_F(DiffuseCallTest, SendsAllPicturesOfALevelBeforeTheNext) {
  DiffuseRequest request = Request();
  request.add_pictures()->set_data(GrayPng());
  request.set_steps(2);
  request.set_mode(denoised::v1::DIFFUSE_MODE_STEP_BY_STEP);
  ASSERT_TRUE(Diffuse(request).ok());
  std::vector<std::pair<int, int>> order;
  for (const DiffusedFrame& frame : Frames()) {
    order.emplace_back(frame.level_index(), frame.picture_index());
  }
  using P = std::pair<int, int>;
  EXPECT_THAT(order, ElementsAre(P{0, 0}, P{0, 1}, P{1, 0}, P{1, 1}, P{2, 0}, P{2, 1}));
  EXPECT_NE(Frames()[4].image().data(), Frames()[5].image().data()) << "each has its own noise";
}

TEST_F(DiffuseCallTest, TheSameSeedGivesTheSameNoise) {
  ASSERT_TRUE(Diffuse(Request()).ok());
  const std::string first = Frames().back().image().data();
  ASSERT_TRUE(Diffuse(Request()).ok());
  EXPECT_EQ(Frames().back().image().data(), first);
  DiffuseRequest other = Request();
  other.set_seed(8);
  ASSERT_TRUE(Diffuse(other).ok());
  EXPECT_NE(Frames().back().image().data(), first);
}

// In closed form all frames mix the same epsilon in.
TEST_F(DiffuseCallTest, AFrameIsSignalAndNoiseAsItsLevelSays) {
  ASSERT_TRUE(Diffuse(Request()).ok());
  const std::vector<DiffusedFrame> frames = Frames();
  const std::vector<float> x0 = Values(frames[0]), middle = Values(frames[5]),
                           last = Values(frames[9]);
  for (size_t i = 0; i < x0.size(); ++i) {
    const auto epsilon = [&](const DiffusedFrame& frame, float x) {
      return (x - frame.level().alpha() * x0[i]) / frame.level().sigma();
    };
    EXPECT_NEAR(epsilon(frames[5], middle[i]), epsilon(frames[9], last[i]), 1e-4);
  }
}

TEST_F(DiffuseCallTest, NamesEveryWrongField) {
  DiffuseRequest request = Request();
  request.set_model("faces");
  request.clear_pictures();
  request.set_steps(0);
  request.add_timesteps(3);
  request.set_mode(static_cast<denoised::v1::DiffuseMode>(17));
  request.set_encoding(static_cast<denoised::v1::Encoding>(18));
  const grpc::Status status = Diffuse(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(ViolatedFields(status),
              UnorderedElementsAre("model", "pictures", "steps", "steps", "mode", "encoding"));
}

TEST_F(DiffuseCallTest, RefusesTimestepsOutsideTheScheduleOrOutOfOrder) {
  DiffuseRequest request = Request();
  for (const double t : {5., 5., 1000., std::nan("")}) request.add_timesteps(t);
  const grpc::Status status = Diffuse(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  for (const char* field : {"timesteps[1]", "timesteps[2]", "timesteps[3]"}) {
    EXPECT_THAT(status.error_message(), HasSubstr(field));
  }
}

TEST_F(DiffuseCallTest, SaysWhichPictureCannotBeRead) {
  DiffuseRequest request = Request();
  request.add_pictures()->set_data(GrayPng().substr(0, 60));
  const grpc::Status status = Diffuse(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("pictures[1].data"));
  EXPECT_TRUE(events_.empty());
}

TEST_F(DiffuseCallTest, KnowsNoSuchModel) {
  DiffuseRequest request = Request();
  request.set_model("models/absent");
  EXPECT_EQ(Diffuse(request).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(DiffuseCallTest, EndsWhenTheCallerCancels) {
  DiffuseRequest request = Request();
  request.set_steps(1000);
  grpc::ClientContext context;
  auto reader = stub_->Diffuse(&context, request);
  DiffuseEvent event;
  ASSERT_TRUE(reader->Read(&event));
  context.TryCancel();
  while (reader->Read(&event)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  live_calls_.WaitUntilNone(absl::InfiniteFuture());
}

TEST_F(DiffuseCallTest, IsRefusedWhileTheServerDrains) {
  live_calls_.StartDraining();
  EXPECT_EQ(Diffuse(Request()).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(DiffuseCallTest, BreaksOffWhereNobodyReads) {
  DiffuseRequest request = Request();
  while (request.pictures_size() < 16) request.add_pictures()->set_data(GrayPng());
  request.set_steps(1000);
  const auto stub = StubWithSmallWindows();
  grpc::ClientContext context;
  auto reader = stub->Diffuse(&context, request);
  reader->WaitForInitialMetadata();  // it has begun
  WaitUntilStalledCallsEnd();
  for (DiffuseEvent event; reader->Read(&event);) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

}  // namespace
}  // namespace denoise
