// Pictures between the steps: which are sent, as what, and what a slow reader gets.
#include <gmock/gmock.h>
#include <grpcpp/support/sync_stream.h>
#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/metric_names.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

using denoised::v1::FramePolicy;
using denoised::v1::GenerateEvent;
using denoised::v1::GenerateRequest;
using testing::IsSubsetOf;
using testing::SizeIs;
using testing::StartsWith;

// Of the float32 values that `bytes` are.
double Variance(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  double sum = 0, sum_of_squares = 0;
  for (const double value : values) {
    sum += value;
    sum_of_squares += value * value;
  }
  const double mean = sum / static_cast<double>(values.size());
  return sum_of_squares / static_cast<double>(values.size()) - mean * mean;
}

class FramesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    models_ = std::make_unique<ModelsFolder>();
    models_->AddGuided();
    server_ = StartServer(models_->path());
  }

  static void TearDownTestSuite() {
    server_.reset();
    models_.reset();
  }

  static GenerateRequest RequestWithFrames(int steps, int every_n_steps) {
    GenerateRequest request = GuidedRequest(steps);
    request.mutable_frames()->set_every_n_steps(every_n_steps);
    return request;
  }

  static Generation Run(const GenerateRequest& request) {
    Generation generation = Generate(server_->generation(), request);
    EXPECT_TRUE(generation.status.ok()) << generation.status.error_message();
    return generation;
  }

  static inline std::unique_ptr<ModelsFolder> models_;
  static inline std::unique_ptr<ServerProcess> server_;
};

TEST_F(FramesTest, FollowEveryNthStepAndTheLast) {
  GenerateRequest request = RequestWithFrames(/*steps=*/10, /*every_n_steps=*/3);
  request.set_count(2);
  const Generation run = Run(request);
  const auto& finished = run.events.back().finished();
  EXPECT_EQ(finished.frames_sent() + finished.frames_dropped(), 2 * 4) << "after 3, 6, 9 and 10";
  EXPECT_EQ(finished.frames_sent(), static_cast<int>(run.Of(GenerateEvent::kFrame).size()));

  for (int image = 0; image < 2; ++image) {
    std::vector<int> steps;
    for (const GenerateEvent& event : run.Of(GenerateEvent::kFrame)) {
      if (event.frame().image_index() == image) steps.push_back(event.frame().step());
    }
    EXPECT_THAT(steps, IsSubsetOf({3, 6, 9, 10})) << "image " << image;
    EXPECT_TRUE(std::ranges::is_sorted(steps)) << "image " << image;
    EXPECT_EQ(std::set<int>(steps.begin(), steps.end()).size(), steps.size()) << "image " << image;
    ASSERT_FALSE(steps.empty());
    EXPECT_EQ(steps.back(), 10) << "the latest frame wins";
  }
}

TEST_F(FramesTest, SayTheTimestepTheNetworkWasTold) {
  const Generation run = Run(RequestWithFrames(/*steps=*/5, /*every_n_steps=*/1));
  const auto& timesteps = run.events.front().accepted().timesteps();
  ASSERT_FALSE(run.Of(GenerateEvent::kFrame).empty());
  for (const GenerateEvent& event : run.Of(GenerateEvent::kFrame)) {
    EXPECT_EQ(event.frame().timestep(), timesteps.at(event.frame().step() - 1));
  }
}

TEST_F(FramesTest, ComeBeforeTheImageTheyLeadTo) {
  const Generation run = Run(RequestWithFrames(/*steps=*/8, /*every_n_steps=*/1));
  ASSERT_FALSE(run.Of(GenerateEvent::kFrame).empty());
  EXPECT_LT(run.Of(GenerateEvent::kFrame).back().sequence(),
            run.Of(GenerateEvent::kImage).at(0).sequence());
}

TEST_F(FramesTest, ShowThePredictedImageUnlessAskedForTheNoisyOne) {
  GenerateRequest request = RequestWithFrames(/*steps=*/6, /*every_n_steps=*/6);
  request.mutable_frames()->set_encoding(denoised::v1::ENCODING_RAW_FLOAT32);
  request.set_image_encoding(denoised::v1::ENCODING_RAW_FLOAT32);
  auto frames = Run(request).Of(GenerateEvent::kFrame);
  ASSERT_THAT(frames, SizeIs(1));
  EXPECT_EQ(frames[0].frame().kind(), denoised::v1::FRAME_KIND_X0);

  request.mutable_frames()->add_kinds(denoised::v1::FRAME_KIND_X_T);
  const Generation run = Run(request);
  frames = run.Of(GenerateEvent::kFrame);
  ASSERT_THAT(frames, SizeIs(1));
  EXPECT_EQ(frames[0].frame().kind(), denoised::v1::FRAME_KIND_X_T);
  EXPECT_EQ(frames[0].frame().image().data(), run.Images().at(0))
      << "after the last step, x_t is the image";
}

TEST_F(FramesTest, OfBothKindsComeInPairsThatAreThoseOfEachAlone) {
  GenerateRequest request = RequestWithFrames(/*steps=*/6, /*every_n_steps=*/2);
  request.mutable_frames()->add_kinds(denoised::v1::FRAME_KIND_X_T);
  const auto x_t = Run(request).Of(GenerateEvent::kFrame);
  request.mutable_frames()->add_kinds(denoised::v1::FRAME_KIND_X0);
  const auto both = Run(request).Of(GenerateEvent::kFrame);
  request.mutable_frames()->clear_kinds();
  const auto x0 = Run(request).Of(GenerateEvent::kFrame);
  ASSERT_THAT(both, SizeIs(6));
  for (size_t i = 0; i < 6; ++i) {
    const auto& frame = both[i].frame();
    const auto& alone = (i % 2 == 0 ? x_t : x0).at(i / 2).frame();
    EXPECT_EQ(frame.kind(),
              i % 2 == 0 ? denoised::v1::FRAME_KIND_X_T : denoised::v1::FRAME_KIND_X0);
    EXPECT_EQ(frame.step(), alone.step());
    EXPECT_EQ(frame.image().data(), alone.image().data());
  }
}

TEST_F(FramesTest, AreNoisyAtFirstAsXtAndNotAsX0) {
  GenerateRequest request = RequestWithFrames(/*steps=*/8, /*every_n_steps=*/1);
  request.mutable_frames()->set_encoding(denoised::v1::ENCODING_RAW_FLOAT32);
  const auto x0 = Run(request).Of(GenerateEvent::kFrame);
  request.mutable_frames()->add_kinds(denoised::v1::FRAME_KIND_X_T);
  const auto x_t = Run(request).Of(GenerateEvent::kFrame);
  ASSERT_FALSE(x0.empty());
  ASSERT_FALSE(x_t.empty());
  ASSERT_EQ(x0[0].frame().step(), x_t[0].frame().step());
  // Of one and the same state: the noise has unit variance, what the network predicts is denoised.
  EXPECT_LT(Variance(x0[0].frame().image().data()), Variance(x_t[0].frame().image().data()));
}

TEST_F(FramesTest, AreEncodedAsAskedFor) {
  struct Case {
    denoised::v1::Encoding encoding;
    const char* magic;
  };
  for (const Case& c : {Case{denoised::v1::ENCODING_UNSPECIFIED, "\x89PNG"},
                        Case{denoised::v1::ENCODING_PNG, "\x89PNG"},
                        Case{denoised::v1::ENCODING_JPEG, "\xff\xd8\xff"},
                        Case{denoised::v1::ENCODING_WEBP, "RIFF"}}) {
    GenerateRequest request = RequestWithFrames(/*steps=*/4, /*every_n_steps=*/4);
    request.mutable_frames()->set_encoding(c.encoding);
    const auto frames = Run(request).Of(GenerateEvent::kFrame);
    ASSERT_THAT(frames, SizeIs(1));
    const auto& image = frames[0].frame().image();
    EXPECT_THAT(image.data(), StartsWith(c.magic));
    EXPECT_EQ(image.encoding(), c.encoding == denoised::v1::ENCODING_UNSPECIFIED
                                    ? denoised::v1::ENCODING_PNG
                                    : c.encoding);
    EXPECT_EQ(image.width(), 16);
    EXPECT_EQ(image.height(), 16);
  }
}

TEST_F(FramesTest, OverTheSizeLimitAreLeftOutAndCounted) {
  GenerateRequest request = RequestWithFrames(/*steps=*/4, /*every_n_steps=*/2);
  request.mutable_frames()->set_encoding(denoised::v1::ENCODING_RAW_FLOAT32);
  request.mutable_frames()->set_max_bytes(4 * 3 * 16 * 16 - 1);
  const Generation run = Run(request);
  EXPECT_THAT(run.Of(GenerateEvent::kFrame), SizeIs(0));
  EXPECT_EQ(run.events.back().finished().frames_dropped(), 2);
  EXPECT_THAT(run.Images(), SizeIs(1));
}

TEST_F(FramesTest, DoNotChangeTheImage) {
  GenerateRequest request = RequestWithFrames(/*steps=*/6, /*every_n_steps=*/1);
  const auto with_frames = Run(request).Images();
  request.clear_frames();
  EXPECT_EQ(Run(request).Images(), with_frames);
}

// A reader that stops reading is sent the latest frames once it goes on, and every image.
TEST_F(FramesTest, OfAReaderThatStallsAreDroppedAndItsImagesAreNot) {
  GenerateRequest request = RequestWithFrames(/*steps=*/500, /*every_n_steps=*/1);
  request.set_count(8);
  request.mutable_frames()->set_encoding(denoised::v1::ENCODING_RAW_FLOAT32);

  const auto evaluations = [] { return server_->Metrics().Sum(kTrajectories); };
  const double before = evaluations();
  grpc::ClientContext context;
  const auto reader = server_->generation().Generate(&context, request);
  Generation run;
  GenerateEvent event;
  while (!event.has_started() && reader->Read(&event)) run.events.push_back(event);
  ASSERT_TRUE(event.has_started());
  ASSERT_TRUE(Eventually([&] { return evaluations() == before + 8 * 500; }))
      << "the slow reader holds up the evaluations";
  while (reader->Read(&event)) run.events.push_back(event);
  ASSERT_TRUE(reader->Finish().ok());

  const auto& finished = run.events.back().finished();
  EXPECT_THAT(run.Images(), SizeIs(8));
  EXPECT_EQ(finished.images(), 8);
  EXPECT_GT(finished.frames_dropped(), 0) << "nothing was slow about this reader";
  EXPECT_EQ(finished.frames_sent(), static_cast<int>(run.Of(GenerateEvent::kFrame).size()));
  EXPECT_EQ(finished.frames_sent() + finished.frames_dropped(), 8 * 500);

  request.clear_frames();
  EXPECT_EQ(run.Images(), Run(request).Images());
}

}  // namespace
}  // namespace denoise
