// Generations that start elsewhere than from the noise of their seed, and ones that keep a part of
// a picture.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/image/image.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

using denoised::v1::GenerateEvent;
using denoised::v1::GenerateRequest;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr int kSide = 16;  // of the model "guided"
constexpr int kPixels = 3 * kSide * kSide;

// A soft picture of the model's size.
Image Picture() {
  Image image{kSide, kSide, 3, {}};
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      for (int value : {60 + 8 * x, 200 - 8 * y, 128}) {
        image.pixels.push_back(static_cast<uint8_t>(value));
      }
    }
  }
  return image;
}

// White in the left half.
Image HalfMask() {
  Image image{kSide, kSide, 1, {}};
  for (int i = 0; i < kSide * kSide; ++i) image.pixels.push_back(i % kSide < kSide / 2 ? 255 : 0);
  return image;
}

std::string Png(const Image& image) { return *EncodeImage(image, ImageFormat::kPng); }

Image Decoded(const std::string& bytes) { return *DecodeImage(bytes, 1 << 20); }

std::vector<float> Floats(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

double MeanDifference(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

class EditingTest : public testing::Test {
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

  // The model as DDIM has it: no noise on the way.
  static GenerateRequest Request(int steps) {
    GenerateRequest request = GuidedRequest(steps);
    request.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DDIM);
    request.set_image_encoding(denoised::v1::ENCODING_RAW_FLOAT32);
    return request;
  }

  static GenerateRequest FromPicture(int steps, double strength) {
    GenerateRequest request = Request(steps);
    request.mutable_start()->mutable_image()->mutable_picture()->set_data(Png(Picture()));
    request.mutable_start()->mutable_image()->set_strength(strength);
    return request;
  }

  static GenerateRequest Inpainted(int steps) {
    GenerateRequest request = Request(steps);
    request.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DDPM);
    request.mutable_inpainting()->mutable_picture()->set_data(Png(Picture()));
    request.mutable_inpainting()->mutable_mask()->set_data(Png(HalfMask()));
    return request;
  }

  // One with frames of x_t, each a raw sample.
  static GenerateRequest WithFrames(GenerateRequest request) {
    request.mutable_frames()->set_every_n_steps(1);
    request.mutable_frames()->add_kinds(denoised::v1::FRAME_KIND_X_T);
    request.mutable_frames()->set_encoding(denoised::v1::ENCODING_RAW_FLOAT32);
    return request;
  }

  static GenerateRequest FromFrame(GenerateRequest request, const Generation& original, int step) {
    for (const GenerateEvent& event : original.Of(GenerateEvent::kFrame)) {
      if (event.frame().step() != step) continue;
      request.mutable_start()->mutable_frame()->set_sample(event.frame().image().data());
      request.mutable_start()->mutable_frame()->set_step(step);
    }
    return request;
  }

  static Generation Run(const GenerateRequest& request) {
    Generation generation = Generate(server_->generation(), request);
    EXPECT_TRUE(generation.status.ok()) << generation.status.error_message();
    return generation;
  }

  static std::string Image0(const GenerateRequest& request) {
    const auto images = Run(request).Images();
    return images.empty() ? "" : images.begin()->second;
  }

  static inline std::unique_ptr<ModelsFolder> models_;
  static inline std::unique_ptr<ServerProcess> server_;
  TempDir folder_;
};

TEST_F(EditingTest, LittleStrengthStaysNearThePicture) {
  const std::vector<float> picture = SampleFromImage(Picture());
  const double near = MeanDifference(Floats(Image0(FromPicture(50, 0.02))), picture);
  const double far = MeanDifference(Floats(Image0(FromPicture(50, 0.9))), picture);
  EXPECT_LT(near, 0.2);
  EXPECT_GT(far, 2 * near);
}

TEST_F(EditingTest, AcceptedSaysWhichStepsAreTaken) {
  const Generation run = Run(FromPicture(10, 0.5));
  ASSERT_FALSE(run.events.empty());
  EXPECT_EQ(run.events[0].accepted().first_step(), 5);
  EXPECT_EQ(run.events[0].accepted().steps(), 5);
  EXPECT_THAT(run.events[0].accepted().timesteps(), ElementsAre(400, 300, 200, 100, 0));
}

TEST_F(EditingTest, ABranchWithTheSameSettingsGoesOnBitForBit) {
  for (const auto sampler : {denoised::v1::SAMPLER_DDIM, denoised::v1::SAMPLER_DDPM}) {
    GenerateRequest request = Request(12);
    request.mutable_sampler()->set_sampler(sampler);
    const Generation original = Run(WithFrames(request));
    for (int step : {1, 5, 11}) {
      EXPECT_EQ(Image0(FromFrame(request, original, step)), original.Images().at(0)) << step;
    }
  }
}

TEST_F(EditingTest, ABranchTakesAnotherClassGuidanceOrSeed) {
  GenerateRequest request = Request(12);
  request.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DDPM);
  const Generation original = Run(WithFrames(request));
  GenerateRequest other = request;
  other.set_class_label(3);
  EXPECT_NE(Image0(FromFrame(other, original, 5)), original.Images().at(0));
  other = request;
  other.mutable_guidance()->set_scale(3);
  EXPECT_NE(Image0(FromFrame(other, original, 5)), original.Images().at(0));
  other = request;
  other.set_seed(99);
  EXPECT_NE(Image0(FromFrame(other, original, 5)), original.Images().at(0));
}

TEST_F(EditingTest, NoiseBetweenTwoSeedsBeginsAndEndsAtTheirImages) {
  GenerateRequest request = Request(6);
  request.set_count(4);
  request.mutable_start()->mutable_noise()->mutable_from()->set_seed(11);
  request.mutable_start()->mutable_noise()->mutable_to()->set_seed(22);
  const auto between = Run(request).Images();
  ASSERT_THAT(between, SizeIs(4));
  GenerateRequest plain = Request(6);
  plain.set_seed(11);
  EXPECT_EQ(between.at(0), Image0(plain));
  plain.set_seed(22);
  EXPECT_EQ(between.at(3), Image0(plain));
  EXPECT_NE(between.at(1), between.at(2));
}

TEST_F(EditingTest, VariationsStayNearTheirImage) {
  GenerateRequest plain = Request(20);
  plain.set_seed(11);
  const std::vector<float> image = Floats(Image0(plain));
  GenerateRequest request = Request(20);
  request.set_seed(500);
  request.mutable_start()->mutable_noise()->mutable_from()->set_seed(11);
  const auto distance = [&](double variation) {
    request.mutable_start()->mutable_noise()->set_variation(variation);
    return MeanDifference(Floats(Image0(request)), image);
  };
  EXPECT_EQ(distance(0), 0);
  EXPECT_GT(distance(0.05), 0);
  EXPECT_LT(distance(0.05), 0.5 * distance(1));
}

TEST_F(EditingTest, InpaintingKeepsWhatTheMaskKeeps) {
  GenerateRequest request = Inpainted(10);
  request.set_image_encoding(denoised::v1::ENCODING_PNG);
  for (int resamples : {1, 3}) {
    request.mutable_inpainting()->set_jump_length(2);
    request.mutable_inpainting()->set_resamples(resamples);
    const Image image = Decoded(Image0(request)), picture = Picture();
    int changed = 0;
    for (int i = 0; i < kPixels; ++i) {
      const bool kept = i / 3 % kSide >= kSide / 2;
      if (kept) {
        EXPECT_EQ(image.pixels[i], picture.pixels[i]) << i;
      }
      changed += !kept && image.pixels[i] != picture.pixels[i];
    }
    EXPECT_GT(changed, kPixels / 4);
  }
}

TEST_F(EditingTest, AnInvertedPictureComesBack) {
  GenerateRequest inversion = Request(200);
  inversion.mutable_start()->mutable_inversion()->mutable_picture()->set_data(Png(Picture()));
  const std::string noise = Image0(inversion);
  ASSERT_THAT(noise, SizeIs(kPixels * sizeof(float)));
  GenerateRequest request = Request(200);
  request.mutable_sampler()->set_clip_sample(false);
  request.mutable_start()->mutable_noise()->mutable_from()->set_sample(noise);
  const double again = MeanDifference(Floats(Image0(request)), SampleFromImage(Picture()));
  request.mutable_start()->mutable_noise()->mutable_from()->set_seed(1);
  const double other = MeanDifference(Floats(Image0(request)), SampleFromImage(Picture()));
  EXPECT_LT(again, 0.1 * other);
}

// Whoever shares its batches.
TEST_F(EditingTest, GenerationsOfAllKindsShareBatchesAndNoneCanTell) {
  const Generation original = Run(WithFrames(Request(30)));
  std::vector<GenerateRequest> requests = {
      Request(150),   FromPicture(200, 0.7), FromFrame(Request(30), original, 3),
      Inpainted(120), Inpainted(40),         Request(160),
      Request(150)};
  requests[4].mutable_inpainting()->set_jump_length(5);
  requests[4].mutable_inpainting()->set_resamples(3);
  requests[5].mutable_start()->mutable_noise()->mutable_from()->set_seed(8);
  requests[5].mutable_start()->mutable_noise()->set_variation(0.3);
  requests[6].mutable_start()->mutable_inversion()->mutable_picture()->set_data(Png(Picture()));
  std::vector<std::string> alone;
  for (const GenerateRequest& request : requests) alone.push_back(Image0(request));
  std::vector<std::unique_ptr<BackgroundCall>> calls;
  for (const GenerateRequest& request : requests) {
    calls.push_back(std::make_unique<BackgroundCall>(server_->generation(), request));
  }
  for (size_t i = 0; i < calls.size(); ++i) {
    EXPECT_EQ(calls[i]->Join().Images().at(0), alone[i]) << i;
  }
}

TEST_F(EditingTest, ABadPictureIsRefusedByItsField) {
  GenerateRequest request = FromPicture(10, 0.5);
  request.mutable_start()->mutable_image()->mutable_picture()->mutable_data()->resize(80);
  const Generation run = Generate(server_->generation(), request);
  EXPECT_EQ(run.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(ViolatedFields(run.status), ElementsAre("start.image.picture.data"));
  EXPECT_THAT(run.status.error_message(), HasSubstr("PNG"));
  EXPECT_THAT(run.events, SizeIs(0));
}

// The whole way with the command: frames to a branch, a picture to noise and back, a mask.
TEST_F(EditingTest, TheCommandEdits) {
  const auto write = [&](const char* name, const std::string& bytes) {
    const std::string path = (folder_.path() / name).string();
    WriteFile(path, bytes);
    return path;
  };
  const auto generate = [&](const std::string& out, std::vector<std::string> more) {
    std::vector<std::string> arguments = {"generate",  "--server", server_->address(),
                                          "--model",   "guided",   "--class-label",
                                          "c1",        "--seed",   "5",
                                          "--sampler", "ddim",     "--steps",
                                          "12",        "--out",    (folder_.path() / out).string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunDenoise(arguments);
  };
  const auto read = [&](const std::string& name) { return ReadFile(folder_.path() / name); };
  const std::string picture = write("photo.png", Png(Picture()));
  const std::string mask = write("mask.png", Png(HalfMask()));

  ProcessResult result = generate("run", {"--format", "npy", "--frames", "1", "--frame-kind", "x_t",
                                          "--frame-encoding", "npy"});
  ASSERT_EQ(result.exit_status, kExitedCleanly) << result.error;
  const std::string frame = (folder_.path() / "run/frames/image-0-step-007.npy").string();
  result = generate("branch", {"--format", "npy", "--branch", frame, "--branch-step", "7"});
  ASSERT_EQ(result.exit_status, kExitedCleanly) << result.error;
  EXPECT_EQ(read("branch/image-0.npy"), read("run/image-0.npy"));

  result = generate("noise", {"--invert", picture});
  ASSERT_EQ(result.exit_status, kExitedCleanly) << result.error;
  result = generate(
      "again", {"--noise", (folder_.path() / "noise/image-0.npy").string(), "--variation", "0.1"});
  ASSERT_EQ(result.exit_status, kExitedCleanly) << result.error;

  result = generate("inpainted", {"--inpaint", picture, "--mask", mask, "--repaint-jump", "3",
                                  "--repaint-times", "2", "--frames", "1"});
  ASSERT_EQ(result.exit_status, kExitedCleanly) << result.error;
  EXPECT_EQ(Decoded(read("inpainted/image-0.png")).pixels.back(), Picture().pixels.back());

  result = generate("init", {"--init", picture, "--strength", "0.01"});
  EXPECT_EQ(result.exit_status, (ExitStatus{.code = 2}));
  EXPECT_THAT(result.error, HasSubstr("--strength: leaves none of 12 steps"));
  result = generate("init", {"--init", frame});
  EXPECT_EQ(result.exit_status, (ExitStatus{.code = 2}));
  EXPECT_THAT(result.error, HasSubstr("--init: neither a PNG"));
}

// Where a round trip turns, the forward process has arrived at what the way back starts from: going
// on from there gives the same image.
TEST_F(EditingTest, ARoundTripTurnsWhereItsTwoWaysMeet) {
  const std::string picture = (folder_.path() / "photo.png").string();
  WriteFile(picture, Png(Picture()));
  const auto path = [&](const std::string& name) { return (folder_.path() / name).string(); };
  const auto run = [&](std::vector<std::string> arguments, const std::string& out) {
    arguments.insert(arguments.end(), {"--server", server_->address(), "--model", "guided",
                                       "--class-label", "c1", "--seed", "5", "--sampler", "ddim",
                                       "--steps", "10", "--format", "npy", "--out", path(out)});
    return RunDenoise(arguments);
  };
  const ProcessResult trip = run({"roundtrip", picture, "--strength", "0.7"}, "trip");
  ASSERT_EQ(trip.exit_status, kExitedCleanly) << trip.error;
  const ProcessResult branch = run(
      {"generate", "--branch", path("trip/frames/there-007.npy"), "--branch-step", "3"}, "branch");
  ASSERT_EQ(branch.exit_status, kExitedCleanly) << branch.error;
  EXPECT_EQ(ReadFile(path("branch/image-0.npy")), ReadFile(path("trip/image-0.npy")));
  EXPECT_EQ(ReadFile(path("trip/frames/back-007.npy")), ReadFile(path("trip/image-0.npy")));
  EXPECT_NE(ReadFile(path("trip/frames/there-006.npy")), ReadFile(path("trip/frames/back-001.npy")))
      << "the same noise level, but another picture";

  const ProcessResult refused = run({"roundtrip", picture, "--eta", "7"}, "refused");
  EXPECT_EQ(refused.exit_status, (ExitStatus{.code = 2}));
  EXPECT_THAT(refused.error, HasSubstr("--eta"));
}

}  // namespace
}  // namespace denoise
