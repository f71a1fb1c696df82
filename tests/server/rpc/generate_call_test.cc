// Calls over a real connection, in one process: the services, the engine and gRPC's settings
// together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

using denoised::v1::GenerateEvent;
using denoised::v1::GenerateRequest;
using ::testing::IsSupersetOf;

class GenerateCallTest : public ServiceTest {
 protected:
  static GenerateRequest Request(int steps) {
    GenerateRequest request;
    request.set_model("models/faces");
    request.mutable_sampler()->set_steps(steps);
    return request;
  }

  // All events of a call, and its status.
  grpc::Status Generate(const GenerateRequest& request) {
    events_.clear();
    context_ = std::make_unique<grpc::ClientContext>();
    auto reader = stub_->Generate(context_.get(), request);
    for (GenerateEvent event; reader->Read(&event);) events_.push_back(event);
    return reader->Finish();
  }

  std::vector<std::string> Trailers() const {
    std::vector<std::string> names;
    for (const auto& [name, value] : context_->GetServerTrailingMetadata()) {
      names.emplace_back(name.data(), name.size());
    }
    return names;
  }

  std::vector<GenerateEvent> events_;
};

TEST_F(GenerateCallTest, StreamsFromAcceptedToFinished) {
  GenerateRequest request = Request(3);
  request.set_count(2);
  request.set_seed(11);
  request.mutable_frames()->set_every_n_steps(1);
  const grpc::Status status = Generate(request);
  ASSERT_TRUE(status.ok()) << status.error_message();

  ASSERT_GE(events_.size(), 2u + 6 + 2);
  EXPECT_EQ(events_.front().accepted().seed(), 11u);
  EXPECT_EQ(events_.front().accepted().steps(), 3);
  EXPECT_EQ(events_.back().finished().images(), 2);
  EXPECT_EQ(events_.back().finished().frames_sent(), 6);
  for (size_t i = 0; i < events_.size(); ++i) {
    EXPECT_GE(events_[i].sequence(), static_cast<int64_t>(i));
    if (i > 0) {
      EXPECT_GT(events_[i].sequence(), events_[i - 1].sequence());
    }
  }
  live_calls_.WaitUntilNone(absl::InfiniteFuture());
}

// A request with pictures is resolved on the pool.
TEST_F(GenerateCallTest, StartsFromPicturesAndRefusesBadOnes) {
  const Image gray{4, 4, 1, std::vector<uint8_t>(16, 128)};
  GenerateRequest request = Request(4);
  auto& image = *request.mutable_start()->mutable_image();
  image.set_strength(0.5);
  image.mutable_picture()->set_data(*EncodeImage(gray, ImageFormat::kPng));
  const grpc::Status status = Generate(request);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(events_.front().accepted().steps(), 2);
  EXPECT_EQ(events_.back().finished().images(), 1);

  image.mutable_picture()->set_data("no picture");
  EXPECT_EQ(Generate(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(events_.empty());
  live_calls_.WaitUntilNone(absl::InfiniteFuture());
}

// Callers leave while the pool is at work on their requests, before it, and after it.
TEST_F(GenerateCallTest, CallersMayLeaveAtAnyTimeOfAStartFromAPicture) {
  const Image gray{4, 4, 1, std::vector<uint8_t>(16, 128)};
  GenerateRequest request = Request(500);
  request.set_count(64);
  request.mutable_start()->mutable_image()->set_strength(1);
  request.mutable_start()->mutable_image()->mutable_picture()->set_data(
      *EncodeImage(gray, ImageFormat::kPng));
  for (int i = 0; i < 40; ++i) {
    grpc::ClientContext context;
    auto reader = stub_->Generate(&context, request);
    absl::SleepFor(absl::Microseconds(200) * i);
    context.TryCancel();
    for (GenerateEvent event; reader->Read(&event);) {
    }
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  live_calls_.WaitUntilNone(absl::InfiniteFuture());
}

TEST_F(GenerateCallTest, TheSameSeedGivesTheSamePicture) {
  GenerateRequest request = Request(4);
  request.set_seed(5);
  std::vector<std::string> pictures;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(Generate(request).ok());
    for (const GenerateEvent& event : events_) {
      if (event.has_image()) pictures.push_back(event.image().image().data());
    }
  }
  ASSERT_EQ(pictures.size(), 2u);
  EXPECT_EQ(pictures[0], pictures[1]);
}

TEST_F(GenerateCallTest, ARefusalHasDetailsAndNoHeaders) {
  const grpc::Status status = Generate(Request(0));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(events_.empty());
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.details_size(), 2) << "ErrorInfo and BadRequest";
  EXPECT_THAT(Trailers(), IsSupersetOf({std::string("denoised-request-id")}));
  EXPECT_TRUE(context_->GetServerInitialMetadata().empty());
}

TEST_F(GenerateCallTest, ARefusalWhileDrainingSaysWhenToTryAgain) {
  engine_.Drain(absl::InfinitePast());
  const grpc::Status status = Generate(Request(2));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(events_.empty());
  EXPECT_THAT(Trailers(), IsSupersetOf({std::string("grpc-retry-pushback-ms")}));
}

TEST_F(GenerateCallTest, ACancelledCallLeavesNothingBehind) {
  GenerateRequest request = Request(1000);
  request.set_count(64);
  for (int i = 0; i < 20; ++i) {
    grpc::ClientContext context;
    auto reader = stub_->Generate(&context, request);
    GenerateEvent event;
    if (i % 2 == 0) reader->Read(&event);
    context.TryCancel();
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  live_calls_.WaitUntilNone(absl::InfiniteFuture());
  EXPECT_TRUE(Generate(Request(2)).ok());
}

// Far more than gRPC's windows hold, so that the writes stop.
TEST_F(GenerateCallTest, AReaderWhoNeverReadsIsGivenUpAndHoldsNothing) {
  GenerateRequest request = Request(300);
  request.set_count(64);
  request.mutable_frames()->set_every_n_steps(1);
  request.mutable_frames()->set_encoding(denoised::v1::ENCODING_RAW_FLOAT32);
  const auto stub = StubWithSmallWindows();
  grpc::ClientContext context;
  const auto reader = stub->Generate(&context, request);
  reader->WaitForInitialMetadata();
  EXPECT_FALSE(samples_.Reserve(kMaxUnreadBytes).ok()) << "its samples are not counted";

  WaitUntilStalledCallsEnd();
  EXPECT_TRUE(samples_.Reserve(kMaxUnreadBytes).ok()) << "it still waits for its reader";
  GenerateEvent event;
  while (reader->Read(&event)) EXPECT_FALSE(event.has_finished());
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(GenerateCallTest, RoomIsReservedForTheFramesOfEveryKind) {
  GenerateRequest request = Request(100);
  request.mutable_frames()->set_every_n_steps(1);
  request.mutable_frames()->set_encoding(denoised::v1::ENCODING_RAW_FLOAT32);
  const auto stub = StubWithSmallWindows();
  const auto reserved = [&] {
    grpc::ClientContext context;
    const auto reader = stub->Generate(&context, request);
    reader->WaitForInitialMetadata();
    int64_t free = 0;
    for (int64_t step = kMaxUnreadBytes; step > 0; step /= 2) {
      if (samples_.Reserve(free + step).ok()) free += step;
    }
    context.TryCancel();
    GenerateEvent event;
    while (reader->Read(&event)) {
    }
    reader->Finish();
    live_calls_.WaitUntilNone(absl::InfiniteFuture());
    return kMaxUnreadBytes - free - static_cast<int64_t>(request.ByteSizeLong());
  };
  const int64_t of_one = reserved();
  request.mutable_frames()->add_kinds(denoised::v1::FRAME_KIND_X_T);
  request.mutable_frames()->add_kinds(denoised::v1::FRAME_KIND_X0);
  const int64_t of_both = reserved();
  const int64_t sample_bytes = SampleBytes((*models_.Find("faces"))->spec.sample);
  EXPECT_EQ(of_both - of_one, 100 * sample_bytes);
}

TEST_F(GenerateCallTest, MessagesBeyondTheCapAreRefusedByGrpc) {
  GenerateRequest request = Request(2);
  request.set_model(std::string(5000, 'x'));
  EXPECT_EQ(Generate(request).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(GenerateCallTest, CompressedMessagesAreRefusedUnopened) {
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  GenerateRequest request = Request(2);
  request.set_model("models/" + std::string(4000, 'a'));  // long enough to be worth compressing
  auto reader = stub_->Generate(&context, request);
  GenerateEvent event;
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(GenerateCallTest, IsRefusedAsSoonAsTheServerDrains) {
  live_calls_.StartDraining();
  EXPECT_EQ(Generate(Request(2)).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(GenerateCallTest, ASecondServerOnThePortIsAnError) {
  ServerFlags flags = Flags();
  flags.listen = listener_.address;
  ModelsService other(&models_, /*managed=*/nullptr, &adapter_catalog_, environment_.calls, &pool_,
                      &pool_);
  EXPECT_EQ(Listen(flags, {{denoised::v1::Models::service_full_name(), &other}}, &memory_, nullptr)
                .status()
                .code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(GenerateCallTest, ModelsAreListedOverTheWire) {
  auto stub = denoised::v1::Models::NewStub(channel_);
  grpc::ClientContext list_context;
  denoised::v1::ListModelsResponse response;
  ASSERT_TRUE(stub->ListModels(&list_context, {}, &response).ok());
  EXPECT_EQ(response.models_size(), 3);

  grpc::ClientContext get_context;
  denoised::v1::GetModelRequest get;
  get.set_name("models/absent");
  denoised::v1::Model model;
  const grpc::Status status = stub->GetModel(&get_context, get, &model);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  google::rpc::ResourceInfo resource;
  ASSERT_TRUE(details.details(1).UnpackTo(&resource));
  EXPECT_EQ(resource.resource_name(), "models/absent");
}

}  // namespace
}  // namespace denoise
