// One request over the wire: what comes back, in which order, and what it depends on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/metric_names.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

using denoised::v1::GenerateEvent;
using denoised::v1::GenerateRequest;
using testing::ElementsAre;
using testing::SizeIs;
using testing::StartsWith;

class GenerateTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    models_ = std::make_unique<ModelsFolder>();
    models_->AddGuided()
        .AddReference("gray-not-square", "gray")
        .AddReference("learned-range", "learned")
        .AddReference("root-layout-old-names", "old");
    server_ = StartServer(models_->path());
  }

  static void TearDownTestSuite() {
    server_.reset();
    models_.reset();
  }

  static Generation Run(const GenerateRequest& request) {
    Generation generation = Generate(server_->generation(), request);
    EXPECT_TRUE(generation.status.ok()) << generation.status.error_message();
    return generation;
  }

  // The only image of a request, as encoded.
  static std::string Image(const GenerateRequest& request) {
    const auto images = Run(request).Images();
    EXPECT_THAT(images, SizeIs(1));
    return images.empty() ? "" : images.begin()->second;
  }

  static inline std::unique_ptr<ModelsFolder> models_;
  static inline std::unique_ptr<ServerProcess> server_;
};

TEST_F(GenerateTest, StreamsAcceptedStartedImagesAndFinishedInOrder) {
  GenerateRequest request = GuidedRequest(/*steps=*/6);
  request.set_count(3);
  const Generation run = Run(request);

  ASSERT_GE(run.events.size(), 5u);
  for (size_t i = 0; i < run.events.size(); ++i) {
    if (i > 0) {
      EXPECT_GT(run.events[i].sequence(), run.events[i - 1].sequence());
    }
    EXPECT_GT(run.events[i].time().seconds(), 1'600'000'000);
  }
  EXPECT_EQ(run.events.front().sequence(), 0);
  EXPECT_TRUE(run.events.front().has_accepted());
  EXPECT_TRUE(run.events.back().has_finished());
  EXPECT_THAT(run.Of(GenerateEvent::kAccepted), SizeIs(1));
  EXPECT_THAT(run.Of(GenerateEvent::kStarted), SizeIs(1));
  EXPECT_THAT(run.Of(GenerateEvent::kImage), SizeIs(3));
  EXPECT_THAT(run.Of(GenerateEvent::kFinished), SizeIs(1));
  EXPECT_EQ(run.events.back().finished().images(), 3);
  EXPECT_THAT(run.Of(GenerateEvent::kFrame), SizeIs(0)) << "no frames were asked for";
  EXPECT_LT(run.Of(GenerateEvent::kStarted)[0].sequence(),
            run.Of(GenerateEvent::kImage)[0].sequence());
}

TEST_F(GenerateTest, ProgressNeverGoesBack) {
  GenerateRequest request = GuidedRequest(/*steps=*/400);
  request.set_count(2);
  int steps_before = 0;
  const auto events = Run(request).Of(GenerateEvent::kProgress);
  ASSERT_FALSE(events.empty());
  for (const GenerateEvent& event : events) {
    EXPECT_EQ(event.progress().steps_total(), 2 * 400);
    EXPECT_GE(event.progress().steps_done(), steps_before);
    EXPECT_LE(event.progress().steps_done(), 2 * 400);
    steps_before = event.progress().steps_done();
  }
}

TEST_F(GenerateTest, AcceptedEchoesWhatWasResolved) {
  GenerateRequest request = GuidedRequest(/*steps=*/5);
  request.clear_seed();
  request.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DDIM);
  request.mutable_guidance()->set_scale(2.5);
  const Generation run = Run(request);
  ASSERT_TRUE(run.events.at(0).has_accepted());
  const auto& accepted = run.events[0].accepted();

  EXPECT_EQ(accepted.model(), "models/guided");
  EXPECT_NE(accepted.model_version(), "");
  EXPECT_EQ(accepted.count(), 1);
  EXPECT_EQ(accepted.steps(), 5);
  EXPECT_EQ(accepted.evaluations(), 5);
  EXPECT_THAT(accepted.timesteps(), ElementsAre(800, 600, 400, 200, 0));
  EXPECT_EQ(accepted.guidance().scale(), 2.5);
  EXPECT_EQ(accepted.sampler().sampler(), denoised::v1::SAMPLER_DDIM);
  EXPECT_EQ(accepted.sampler().steps(), 5);
  EXPECT_TRUE(accepted.sampler().has_eta()) << "defaults are filled in";
  EXPECT_FALSE(accepted.sampler().has_solver_order()) << "DDIM does not read it";

  request.set_seed(accepted.seed());
  EXPECT_EQ(Run(request).Images(), run.Images()) << "the echoed seed gives the same image";
}

TEST_F(GenerateTest, ImageIUsesSeedPlusI) {
  GenerateRequest request = GuidedRequest(/*steps=*/5);
  request.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DDPM);  // draws noise at every step
  request.set_seed(41);
  request.set_count(3);
  const Generation together = Run(request);
  ASSERT_THAT(together.Images(), SizeIs(3));
  for (const GenerateEvent& event : together.Of(GenerateEvent::kImage)) {
    EXPECT_EQ(event.image().seed(), 41u + static_cast<uint64_t>(event.image().image_index()));
  }

  request.set_count(1);
  for (int i = 0; i < 3; ++i) {
    request.set_seed(41 + static_cast<uint64_t>(i));
    EXPECT_EQ(Image(request), together.Images().at(i)) << "image " << i;
  }
}

TEST_F(GenerateTest, SeedsWrapAround) {
  GenerateRequest request = GuidedRequest(/*steps=*/3);
  request.set_seed(std::numeric_limits<uint64_t>::max());
  request.set_count(2);
  const auto images = Run(request).Images();
  ASSERT_THAT(images, SizeIs(2));
  request.set_seed(0);
  request.set_count(1);
  EXPECT_EQ(Image(request), images.at(1));
}

TEST_F(GenerateTest, DifferentSeedsClassesAndGuidanceGiveDifferentImages) {
  const GenerateRequest base = GuidedRequest(/*steps=*/5);
  const std::string image = Image(base);
  GenerateRequest other = base;
  other.set_seed(base.seed() + 1);
  EXPECT_NE(Image(other), image);
  other = base;
  other.set_class_label(1);
  EXPECT_NE(Image(other), image);
  other = base;
  other.mutable_guidance()->set_scale(4);
  EXPECT_NE(Image(other), image);
}

TEST_F(GenerateTest, GuidanceOfOneAndGuidanceOutsideItsIntervalChangeNothing) {
  GenerateRequest request = GuidedRequest(/*steps=*/5);
  const std::string plain = Image(request);
  request.mutable_guidance()->set_scale(1);
  EXPECT_EQ(Image(request), plain);
  request.mutable_guidance()->set_scale(4);
  request.mutable_guidance()->set_timestep_min(5000);
  request.mutable_guidance()->set_timestep_max(6000);
  EXPECT_EQ(Image(request), plain);
  request.mutable_guidance()->set_timestep_min(0);
  EXPECT_NE(Image(request), plain);
}

TEST_F(GenerateTest, ABlendOfClassesIsNeitherOfThem) {
  GenerateRequest request = GuidedRequest(/*steps=*/5);
  const std::string first = Image(request);
  request.set_class_label(1);
  const std::string second = Image(request);
  request.clear_class_label();
  AddClassWeight(request, 0, 2);
  EXPECT_EQ(Image(request), first) << "a blend of one class is that class";
  AddClassWeight(request, 1, 6);
  const Generation blend = Run(request);
  EXPECT_NE(blend.Images().at(0), first);
  EXPECT_NE(blend.Images().at(0), second);
  const auto& weights = blend.events.at(0).accepted().class_weights();
  ASSERT_EQ(weights.size(), 2);
  EXPECT_EQ(weights[0].weight(), 0.25);
  EXPECT_EQ(weights[1].class_label(), 1);
  EXPECT_EQ(weights[1].weight(), 0.75);
}

TEST_F(GenerateTest, RescaleChangesGuidedImages) {
  GenerateRequest request = GuidedRequest(/*steps=*/5);
  request.mutable_guidance()->set_scale(4);
  const std::string image = Image(request);
  request.mutable_guidance()->set_rescale(0.7);
  EXPECT_NE(Image(request), image);
}

TEST_F(GenerateTest, TheRowsThatAnIntervalSavesAreCounted) {
  GenerateRequest request = GuidedRequest(/*steps=*/5);
  request.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DDIM);  // 800, 600, 400, 200, 0
  request.set_count(3);
  request.clear_class_label();
  AddClassWeight(request, 0, 1);
  AddClassWeight(request, 1, 1);
  request.mutable_guidance()->set_scale(2);
  request.mutable_guidance()->set_timestep_min(200);
  request.mutable_guidance()->set_timestep_max(600);
  const auto server = StartServer(models_->path());  // its counters begin at zero
  ASSERT_TRUE(Generate(server->generation(), request).status.ok());
  // The worker reports an evaluation once its images are on their way.
  constexpr int kRowsTaken = 3 * (2 + 3 + 3 + 3 + 2);
  EXPECT_TRUE(Eventually([&] { return server->Metrics().Sum(kRows) == kRowsTaken; }));
  EXPECT_EQ(server->Metrics().Sum(kGuidanceRowsSaved), 3 * 2);
}

TEST_F(GenerateTest, EncodingsCarryTheirFormat) {
  GenerateRequest request = GuidedRequest(/*steps=*/3);
  EXPECT_THAT(Image(request), StartsWith("\x89PNG")) << "the default";
  request.set_image_encoding(denoised::v1::ENCODING_PNG);
  EXPECT_THAT(Image(request), StartsWith("\x89PNG"));
  request.set_image_encoding(denoised::v1::ENCODING_JPEG);
  EXPECT_THAT(Image(request), StartsWith("\xff\xd8\xff"));
  request.set_image_encoding(denoised::v1::ENCODING_WEBP);
  EXPECT_THAT(Image(request), StartsWith("RIFF"));
  request.set_image_encoding(denoised::v1::ENCODING_RAW_FLOAT32);
  EXPECT_THAT(Image(request), SizeIs(4 * 3 * 16 * 16));
}

TEST_F(GenerateTest, RawSamplesAreFinite) {
  GenerateRequest request = GuidedRequest(/*steps=*/10);
  request.set_image_encoding(denoised::v1::ENCODING_RAW_FLOAT32);
  const std::string bytes = Image(request);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  EXPECT_TRUE(std::ranges::all_of(values, [](float v) { return std::isfinite(v); }));
  EXPECT_NE(*std::ranges::min_element(values), *std::ranges::max_element(values));
}

TEST_F(GenerateTest, EveryKindOfCheckpointSaysItsShape) {
  struct Case {
    const char* model;
    int channels, height, width;
  };
  for (const Case& c : {Case{"models/gray", 1, 16, 24}, Case{"models/learned", 3, 16, 16},
                        Case{"models/old", 3, 16, 16}}) {
    SCOPED_TRACE(c.model);
    GenerateRequest request;
    request.set_model(c.model);
    request.set_seed(3);
    request.mutable_sampler()->set_steps(4);
    const auto images = Run(request).Of(GenerateEvent::kImage);
    ASSERT_THAT(images, SizeIs(1));
    const auto& image = images[0].image().image();
    EXPECT_EQ(image.channels(), c.channels);
    EXPECT_EQ(image.height(), c.height);
    EXPECT_EQ(image.width(), c.width);
    EXPECT_EQ(image.encoding(), denoised::v1::ENCODING_PNG);
  }
}

TEST_F(GenerateTest, EverySamplerMakesItsOwnImage) {
  std::vector<std::string> images;
  for (const auto sampler : {denoised::v1::SAMPLER_DDPM, denoised::v1::SAMPLER_DDIM,
                             denoised::v1::SAMPLER_DPM_SOLVER, denoised::v1::SAMPLER_DPMPP,
                             denoised::v1::SAMPLER_DPMPP_SDE, denoised::v1::SAMPLER_UNIPC}) {
    SCOPED_TRACE(denoised::v1::Sampler_Name(sampler));
    GenerateRequest request = GuidedRequest(/*steps=*/8);
    request.mutable_sampler()->set_sampler(sampler);
    request.set_image_encoding(denoised::v1::ENCODING_RAW_FLOAT32);
    images.push_back(Image(request));
  }
  std::ranges::sort(images);
  EXPECT_EQ(std::ranges::adjacent_find(images), images.end()) << "two samplers agree bit for bit";
}

TEST_F(GenerateTest, CustomTimestepsReplaceSteps) {
  GenerateRequest request = GuidedRequest(/*steps=*/0);
  request.mutable_sampler()->clear_steps();
  for (const double t : {999.0, 500.0, 20.0, 0.0}) request.mutable_sampler()->add_timesteps(t);
  const Generation run = Run(request);
  ASSERT_FALSE(run.events.empty());
  EXPECT_THAT(run.events[0].accepted().timesteps(), ElementsAre(999, 500, 20, 0));
  EXPECT_EQ(run.events[0].accepted().steps(), 4);
}

}  // namespace
}  // namespace denoise
