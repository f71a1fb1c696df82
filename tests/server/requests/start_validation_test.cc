#include "server/requests/start_validation.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "core/image/image.h"
#include "server/requests/field_checks.h"
#include "tests/server/test_models.h"

namespace denoise {
namespace {

using denoised::v1::GenerateRequest;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kSampleBytes = 3 * 8 * 8 * 4;  // of the test models

const ModelRepository& Models() {
  static const ModelRepository models(TestModels());
  return models;
}

absl::StatusOr<ResolvedRequest> Resolve(const GenerateRequest& request,
                                        const RequestLimits& limits = {}) {
  return ResolveRequest(request, FindModel(request.model(), Models()), limits, /*seed=*/1);
}

std::vector<std::string> ViolatedFields(const GenerateRequest& request) {
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetFieldViolations(Resolve(request).status())) {
    fields.push_back(violation.field);
  }
  return fields;
}

std::string Png(int width, int height, const std::vector<uint8_t>& pixel) {
  Image image{width, height, static_cast<int>(pixel.size()), {}};
  for (int i = 0; i < width * height; ++i) {
    for (uint8_t value : pixel) image.pixels.push_back(value);
  }
  return *EncodeImage(image, ImageFormat::kPng);
}

const std::string& White() {
  static const std::string png = Png(20, 10, {255, 255, 255});
  return png;
}

std::string Raw(float value, size_t count = 3 * 8 * 8) {
  const std::vector<float> values(count, value);
  return std::string(reinterpret_cast<const char*>(values.data()), count * sizeof(float));
}

GenerateRequest Request() {
  GenerateRequest request;
  request.set_model("models/faces");
  request.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DDIM);
  request.mutable_sampler()->set_steps(10);
  return request;
}

GenerateRequest ImageRequest() {
  GenerateRequest request = Request();
  request.mutable_start()->mutable_image()->mutable_picture()->set_data(White());
  request.mutable_start()->mutable_image()->set_strength(0.4);
  return request;
}

GenerateRequest FrameRequest() {
  GenerateRequest request = Request();
  request.mutable_start()->mutable_frame()->set_sample(Raw(0.5));
  request.mutable_start()->mutable_frame()->set_step(7);
  return request;
}

GenerateRequest NoiseRequest() {
  GenerateRequest request = Request();
  request.set_count(3);
  request.mutable_start()->mutable_noise()->mutable_from()->set_seed(1);
  request.mutable_start()->mutable_noise()->mutable_to()->set_sample(Raw(0.5));
  request.mutable_start()->mutable_noise()->set_variation(0.1);
  return request;
}

GenerateRequest InversionRequest() {
  GenerateRequest request = Request();
  request.mutable_start()->mutable_inversion()->mutable_picture()->set_data(White());
  return request;
}

GenerateRequest InpaintingRequest() {
  GenerateRequest request = Request();
  request.mutable_inpainting()->mutable_picture()->set_data(White());
  request.mutable_inpainting()->mutable_mask()->set_data(Png(4, 4, {255, 255, 255, 128}));
  return request;
}

TEST(StartValidation, AnImageStartTakesTheLastSteps) {
  const auto resolved = Resolve(ImageRequest());
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->accepted.first_step(), 6);
  EXPECT_EQ(resolved->accepted.steps(), 4);
  EXPECT_THAT(resolved->accepted.timesteps(), ElementsAre(300, 200, 100, 0));
  const auto& start = std::get<PictureStart>(resolved->generation.start);
  EXPECT_TRUE(start.picture.equal(at::full({3, 8, 8}, 1.0f))) << "white, at the model's size";
}

TEST(StartValidation, AFrameStartTakesTheStepsAfterIt) {
  const auto resolved = Resolve(FrameRequest());
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->accepted.first_step(), 7);
  EXPECT_EQ(resolved->accepted.steps(), 3);
  const auto& start = std::get<FrameStart>(resolved->generation.start);
  EXPECT_TRUE(start.frame.equal(at::full({3, 8, 8}, 0.5f)));
}

TEST(StartValidation, ANoiseStartHasItsEnds) {
  const auto resolved = Resolve(NoiseRequest());
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  const auto& start = std::get<NoiseStart>(resolved->generation.start);
  EXPECT_EQ(std::get<uint64_t>(*start.from), 1u);
  EXPECT_TRUE(std::get<at::Tensor>(*start.to).equal(at::full({3, 8, 8}, 0.5f)));
  EXPECT_EQ(start.variation, 0.1);
  EXPECT_EQ(resolved->accepted.first_step(), 0);
}

TEST(StartValidation, AnInversionEndsWithARawSample) {
  const auto resolved = Resolve(InversionRequest());
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->image_encoding, denoised::v1::ENCODING_RAW_FLOAT32);
  EXPECT_THAT(resolved->accepted.timesteps(),
              ElementsAre(0, 100, 200, 300, 400, 500, 600, 700, 800, 900));
}

TEST(StartValidation, AMaskIsWhiteOverItsAlpha) {
  const auto resolved = Resolve(InpaintingRequest());
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_TRUE(resolved->generation.inpainting->picture.equal(at::full({3, 8, 8}, 1.0f)));
  EXPECT_TRUE(resolved->generation.inpainting->mask.equal(at::full({1, 8, 8}, 1.0f)));
  EXPECT_EQ(resolved->accepted.steps(), 10);
}

TEST(StartValidation, AMaskMayBeTransparency) {
  GenerateRequest request = InpaintingRequest();
  request.mutable_inpainting()->set_mask_channel(denoised::v1::MASK_CHANNEL_TRANSPARENCY);
  request.mutable_inpainting()->mutable_mask()->set_data(Png(4, 4, {255, 255, 255, 204}));
  const auto resolved = Resolve(request);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_TRUE(at::allclose(resolved->generation.inpainting->mask, at::full({1, 8, 8}, 0.2f)));

  request.mutable_inpainting()->clear_mask();
  request.mutable_inpainting()->mutable_picture()->set_data(Png(4, 4, {255, 255, 255, 204}));
  const auto own = Resolve(request);
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_TRUE(at::allclose(own->generation.inpainting->mask, at::full({1, 8, 8}, 0.2f)));
}

TEST(StartValidation, StepsTakenAgainAreCounted) {
  GenerateRequest request = InpaintingRequest();
  request.mutable_inpainting()->set_jump_length(2);
  request.mutable_inpainting()->set_resamples(3);
  const auto resolved = Resolve(request, {.max_steps = 26});
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->accepted.steps(), 10 + 4 * 2 * 2);
  EXPECT_FALSE(Resolve(request, {.max_steps = 25}).ok());
}

TEST(StartValidation, SaysWhatBringsSamplesAlong) {
  EXPECT_FALSE(IsSlowToResolve(Request()));
  EXPECT_TRUE(IsSlowToResolve(ImageRequest()));
  EXPECT_TRUE(IsSlowToResolve(InpaintingRequest()));
}

TEST(StartValidation, ACheckOfTheRestDecodesNothing) {
  GenerateRequest request = ImageRequest();
  request.mutable_start()->mutable_image()->mutable_picture()->set_data("no picture");
  const auto check = [&] {
    return CheckRequest(request, FindModel(request.model(), Models()), RequestLimits());
  };
  EXPECT_EQ(check(), absl::OkStatus());
  request.set_count(0);
  const auto violations = GetFieldViolations(check());
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_EQ(violations[0].field, "count");
}

struct BadStartCase {
  const char* what;
  GenerateRequest (*request)();
  const char* field;
  const char* part_of_description;
  std::function<void(GenerateRequest&)> spoil;
};

void PrintTo(const BadStartCase& test, std::ostream* out) { *out << test.what; }

class BadStartTest : public testing::TestWithParam<BadStartCase> {};

TEST_P(BadStartTest, IsRefusedNamingTheField) {
  GenerateRequest request = GetParam().request();
  ASSERT_TRUE(Resolve(request).ok());
  GetParam().spoil(request);
  const absl::Status status = Resolve(request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  const auto violations = GetFieldViolations(status);
  ASSERT_EQ(violations.size(), 1u) << status;
  EXPECT_EQ(violations[0].field, GetParam().field);
  EXPECT_THAT(violations[0].description, HasSubstr(GetParam().part_of_description));
}

#define SPOIL(statement) [](GenerateRequest& r) { statement; }
#define IMAGE r.mutable_start()->mutable_image()
#define FRAME r.mutable_start()->mutable_frame()
#define NOISE r.mutable_start()->mutable_noise()
#define INPAINTING r.mutable_inpainting()

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

INSTANTIATE_TEST_SUITE_P(
    Starts, BadStartTest,
    testing::Values(
        BadStartCase{"nothing chosen", Request, "start", "must say where",
                     SPOIL(r.mutable_start())},
        BadStartCase{"no picture", ImageRequest, "start.image.picture.data", "neither",
                     SPOIL(IMAGE->clear_picture())},
        BadStartCase{"no format", ImageRequest, "start.image.picture.data", "neither",
                     SPOIL(IMAGE->mutable_picture()->set_data("GIF89a"))},
        BadStartCase{"cut short", ImageRequest, "start.image.picture.data",
                     "PNG: the file is cut short",
                     SPOIL(IMAGE->mutable_picture()->mutable_data()->resize(60))},
        BadStartCase{"bad checksum", ImageRequest, "start.image.picture.data",
                     "PNG:", SPOIL(IMAGE->mutable_picture()->mutable_data()->at(30) ^= 1)},
        BadStartCase{"too large", ImageRequest, "start.image.picture.data", "at most 16777216",
                     SPOIL(IMAGE->mutable_picture()->set_data(Png(65535, 257, {1})))},
        BadStartCase{"strength of 0", ImageRequest, "start.image.strength", "above 0",
                     SPOIL(IMAGE->clear_strength())},
        BadStartCase{"strength above 1", ImageRequest, "start.image.strength", "at most 1",
                     SPOIL(IMAGE->set_strength(1.1))},
        BadStartCase{"strength NaN", ImageRequest, "start.image.strength", "at most 1",
                     SPOIL(IMAGE->set_strength(kNan))},
        BadStartCase{"strength without a step", ImageRequest, "start.image.strength",
                     "none of 10 steps", SPOIL(IMAGE->set_strength(0.09))},
        BadStartCase{"short frame", FrameRequest, "start.frame.sample", "768 bytes; has 764",
                     SPOIL(FRAME->mutable_sample()->resize(kSampleBytes - 4))},
        BadStartCase{"NaN in a frame", FrameRequest, "start.frame.sample", "finite",
                     SPOIL(FRAME->set_sample(Raw(kNan)))},
        BadStartCase{"no step", FrameRequest, "start.frame.step", "at least 1",
                     SPOIL(FRAME->clear_step())},
        BadStartCase{"negative step", FrameRequest, "start.frame.step", "between",
                     SPOIL(FRAME->set_step(-1))},
        BadStartCase{"frame after the last step", FrameRequest, "start.frame.step", "between",
                     SPOIL(FRAME->set_step(10))},
        BadStartCase{"no noise", NoiseRequest, "start.noise.from", "seed or a sample",
                     SPOIL(NOISE->clear_from())},
        BadStartCase{"no other noise", NoiseRequest, "start.noise.to", "seed or a sample",
                     SPOIL(NOISE->mutable_to()->clear_sample())},
        BadStartCase{"infinite noise", NoiseRequest, "start.noise.to.sample", "finite",
                     SPOIL(NOISE->mutable_to()->set_sample(Raw(kInfinity)))},
        BadStartCase{"short noise", NoiseRequest, "start.noise.from.sample", "bytes",
                     SPOIL(NOISE->mutable_from()->set_sample("abcd"))},
        BadStartCase{"one image between two", NoiseRequest, "count", "at least 2",
                     SPOIL(r.clear_count())},
        BadStartCase{"negative variation", NoiseRequest, "start.noise.variation", "between 0 and 1",
                     SPOIL(NOISE->set_variation(-0.1))},
        BadStartCase{"variation NaN", NoiseRequest, "start.noise.variation", "between 0 and 1",
                     SPOIL(NOISE->set_variation(kNan))},
        BadStartCase{"inversion as PNG", InversionRequest, "image_encoding", "RAW_FLOAT32",
                     SPOIL(r.set_image_encoding(denoised::v1::ENCODING_PNG))},
        BadStartCase{"two inversions", InversionRequest, "count", "must be 1",
                     SPOIL(r.set_count(2))},
        BadStartCase{"inversion of a sampler with noise", InversionRequest, "sampler.eta", "be 0",
                     SPOIL(r.mutable_sampler()->set_eta(0.5))},
        BadStartCase{"inversion of a sampler with history", InversionRequest, "sampler.sampler",
                     "ddim or euler",
                     SPOIL(r.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_UNIPC))},
        BadStartCase{"inpainted inversion", InversionRequest, "inpainting", "absent",
                     SPOIL(*INPAINTING = InpaintingRequest().inpainting())},
        BadStartCase{"no mask", InpaintingRequest, "inpainting.mask.data", "neither",
                     SPOIL(INPAINTING->clear_mask())},
        BadStartCase {
          "a mask without the alpha that selects", InpaintingRequest, "inpainting.mask.data",
              "has no alpha channel",
              SPOIL(INPAINTING->set_mask_channel(denoised::v1::MASK_CHANNEL_TRANSPARENCY);
                    INPAINTING->mutable_mask()->set_data(White()))
        },
        BadStartCase{"a channel that there is not", InpaintingRequest, "inpainting.mask_channel",
                     "unknown value 9",
                     SPOIL(INPAINTING->set_mask_channel(denoised::v1::MaskChannel(9)))},
        BadStartCase{"no picture to inpaint", InpaintingRequest, "inpainting.picture.data",
                     "neither", SPOIL(INPAINTING->clear_picture())},
        BadStartCase{"jump of 0", InpaintingRequest, "inpainting.jump_length", "at least 1",
                     SPOIL(INPAINTING->set_jump_length(0))},
        BadStartCase{"no pass", InpaintingRequest, "inpainting.resamples", "at least 1",
                     SPOIL(INPAINTING->set_resamples(0))},
        BadStartCase {
          "too many passes", InpaintingRequest, "inpainting.resamples", "at most 1000",
              SPOIL(INPAINTING->set_jump_length(1); INPAINTING->set_resamples(1 << 30))
        }));

TEST(StartValidation, EverythingWrongIsListed) {
  GenerateRequest request = ImageRequest();
  request.mutable_start()->mutable_image()->set_strength(2);
  request.set_count(-1);
  *request.mutable_inpainting() = InpaintingRequest().inpainting();
  request.mutable_inpainting()->set_jump_length(0);
  EXPECT_THAT(ViolatedFields(request),
              testing::IsSupersetOf({"start.image.strength", "count", "inpainting.jump_length"}));
}

// Decoding takes time, so pictures are looked at once everything else is right.
TEST(StartValidation, EveryBadPictureIsListed) {
  GenerateRequest request = ImageRequest();
  request.mutable_start()->mutable_image()->mutable_picture()->set_data("x");
  *request.mutable_inpainting() = InpaintingRequest().inpainting();
  request.mutable_inpainting()->mutable_mask()->set_data("");
  EXPECT_THAT(ViolatedFields(request),
              testing::UnorderedElementsAre("start.image.picture.data", "inpainting.mask.data"));
  request.mutable_sampler()->set_eta(3);
  EXPECT_THAT(ViolatedFields(request), testing::ElementsAre("sampler.eta"));
}

// Every kind of picture that a person might send.
TEST(StartValidation, PicturesOfAllKindsAreTaken) {
  for (const std::string& png :
       {Png(1, 1, {7}), Png(1, 1, {7, 0}), Png(65535, 1, {1, 2, 3}), Png(3, 500, {1, 2, 3, 4})}) {
    GenerateRequest request = ImageRequest();
    request.mutable_start()->mutable_image()->mutable_picture()->set_data(png);
    EXPECT_TRUE(Resolve(request).ok()) << Resolve(request).status();
  }
}

TEST(StartValidation, ThePixelLimitIsTheServers) {
  EXPECT_TRUE(Resolve(ImageRequest(), {.max_picture_pixels = 200}).ok());
  EXPECT_FALSE(Resolve(ImageRequest(), {.max_picture_pixels = 199}).ok());
}

}  // namespace
}  // namespace denoise
