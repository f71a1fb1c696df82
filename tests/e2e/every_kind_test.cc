// Requests of every kind at once: samplers, guidance, blends, starts, inpainting, frames. They
// share batches, and each gets the bytes that it gets alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/image/image.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/metric_names.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

// Enough for requests that begin one after the other to meet.
constexpr int kSteps = 40;

using Requests = std::map<std::string, v1::GenerateRequest>;

v1::GenerateRequest Request(uint64_t seed) {
  v1::GenerateRequest request = GuidedRequest(kSteps);
  request.set_seed(seed);
  request.set_image_encoding(v1::ENCODING_RAW_FLOAT32);
  return request;
}

// Not square, and not of one value.
std::string Png(int channels) {
  Image image{24, 20, channels, {}};
  for (int i = 0; i < 24 * 20 * channels; ++i) image.pixels.push_back(static_cast<uint8_t>(i * 7));
  return EncodeImage(image, ImageFormat::kPng).value();
}

// Every sampler that suits the model.
void AddSamplers(v1::ImageGeneration::Stub& stub, Requests& requests) {
  const auto* samplers = v1::Sampler_descriptor();
  for (int i = 0; i < samplers->value_count(); ++i) {
    v1::GenerateRequest request = Request(100 + i);
    request.mutable_sampler()->set_sampler(static_cast<v1::Sampler>(samplers->value(i)->number()));
    v1::PlanSamplerRequest plan_request;
    plan_request.set_model(request.model());
    *plan_request.mutable_sampler() = request.sampler();
    grpc::ClientContext context;
    v1::SamplerPlan plan;
    if (stub.PlanSampler(&context, plan_request, &plan).ok()) {
      requests[samplers->value(i)->name()] = request;
    }
  }
}

void AddGuidance(Requests& requests) {
  requests["guided"] = Request(1);
  requests["guided"].mutable_guidance()->set_scale(3);
  requests["rescaled"] = Request(2);
  requests["rescaled"].mutable_guidance()->set_scale(7);
  requests["rescaled"].mutable_guidance()->set_rescale(0.7);
  requests["interval"] = Request(3);
  requests["interval"].mutable_guidance()->set_scale(2);
  requests["interval"].mutable_guidance()->set_sigma_min(0.3);
  requests["interval"].mutable_guidance()->set_sigma_max(3);
  v1::GenerateRequest& blend = requests["blend"] = Request(4);
  blend.clear_class_label();
  for (const int label : {1, 3}) {
    v1::ClassWeight& entry = *blend.add_class_weights();
    entry.set_class_label(label);
    entry.set_weight(label);
  }
}

void AddStarts(Requests& requests) {
  v1::ImageStart& image = *(requests["image"] = Request(5)).mutable_start()->mutable_image();
  image.mutable_picture()->set_data(Png(3));
  image.set_strength(0.6);

  v1::GenerateRequest& branch = requests["frame"] = Request(6);
  std::vector<float> x_t(3 * 16 * 16, 0.25f);
  branch.mutable_start()->mutable_frame()->set_sample(x_t.data(), x_t.size() * sizeof(float));
  branch.mutable_start()->mutable_frame()->set_step(10);

  v1::GenerateRequest& between = requests["noise"] = Request(7);
  between.set_count(3);
  between.mutable_start()->mutable_noise()->mutable_from()->set_seed(70);
  between.mutable_start()->mutable_noise()->mutable_to()->set_seed(71);
  between.mutable_start()->mutable_noise()->set_variation(0.2);

  v1::GenerateRequest& inversion = requests["inversion"] = Request(8);
  inversion.mutable_sampler()->set_sampler(v1::SAMPLER_DDIM);
  inversion.mutable_start()->mutable_inversion()->mutable_picture()->set_data(Png(3));

  v1::GenerateRequest& inpainting = requests["inpainting"] = Request(9);
  inpainting.mutable_inpainting()->mutable_picture()->set_data(Png(3));
  inpainting.mutable_inpainting()->mutable_mask()->set_data(Png(1));
  requests["repaint"] = inpainting;
  requests["repaint"].mutable_inpainting()->set_jump_length(5);
  requests["repaint"].mutable_inpainting()->set_resamples(3);
}

void AddFrames(Requests& requests) {
  requests["frames"] = Request(10);
  requests["frames"].mutable_frames()->set_every_n_steps(1);
  requests["frames"].mutable_frames()->add_kinds(v1::FRAME_KIND_X_T);
}

TEST(EveryKind, SharesBatchesAndGetsTheBytesThatItGetsAlone) {
  ModelsFolder models;
  models.AddGuided();
  const auto server = StartServer(models.path(), {"--max-active-rows", "256"});
  v1::ImageGeneration::Stub& stub = server->generation();
  Requests requests;
  AddSamplers(stub, requests);
  AddGuidance(requests);
  AddStarts(requests);
  AddFrames(requests);
  ASSERT_GE(requests.size(), 25u);

  std::map<std::string, std::map<int, std::string>> alone;
  for (const auto& [name, request] : requests) {
    const Generation generation = Generate(stub, request);
    ASSERT_TRUE(generation.status.ok()) << name << ": " << generation.status.error_message();
    alone[name] = generation.Images();
  }

  const MetricsPage before = server->Metrics();
  std::map<std::string, std::unique_ptr<BackgroundCall>> calls;
  for (const auto& [name, request] : requests) {
    calls[name] = std::make_unique<BackgroundCall>(stub, request);
  }
  for (const auto& [name, call] : calls) {
    const Generation& together = call->Join();
    EXPECT_TRUE(together.status.ok()) << name << ": " << together.status.error_message();
    EXPECT_TRUE(together.Images() == alone[name]) << name;
  }
  const MetricsPage after = server->Metrics();
  EXPECT_GT((after.Sum(kTrajectories) - before.Sum(kTrajectories)) /
                (after.Sum(kEvaluations) - before.Sum(kEvaluations)),
            3)
      << "they shared evaluations";
}

}  // namespace
}  // namespace denoise
