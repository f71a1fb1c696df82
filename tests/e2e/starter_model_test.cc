// The model that comes with the project makes pictures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

using testing::SizeIs;

std::vector<float> Floats(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

// The share of values within `margin` of white.
double ShareOfWhite(const std::vector<float>& sample, float margin) {
  const auto white = std::ranges::count_if(sample, [&](float v) { return v > 1 - margin; });
  return static_cast<double>(white) / static_cast<double>(sample.size());
}

TEST(StarterModel, MakesPicturesOnWhiteAndStreamsEveryFrame) {
  const auto server = StartServer("deploy/models");
  denoised::v1::GenerateRequest request;
  request.set_model("models/emoji-32");
  request.set_class_label(0);
  request.set_seed(1);
  request.set_count(2);
  request.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DPMPP);
  request.mutable_sampler()->set_steps(12);
  request.mutable_guidance()->set_scale(2);
  request.mutable_frames()->set_every_n_steps(1);
  request.set_image_encoding(denoised::v1::ENCODING_RAW_FLOAT32);
  const Generation run = Generate(server->generation(), request);
  ASSERT_TRUE(run.status.ok()) << run.status.error_message();
  EXPECT_THAT(run.Images(), SizeIs(2));
  const auto& finished = run.events.back().finished();
  EXPECT_EQ(finished.frames_sent() + finished.frames_dropped(), 2 * 12);

  for (const auto& [index, bytes] : run.Images()) {
    const std::vector<float> sample = Floats(bytes);
    ASSERT_THAT(sample, SizeIs(3 * 32 * 32));
    EXPECT_TRUE(std::ranges::all_of(sample, [](float v) { return std::abs(v) < 1.5f; }));
    // Emoji stand on a white ground: noise would leave a few percent of its values there.
    EXPECT_GT(ShareOfWhite(sample, 0.15f), 0.25) << "image " << index;
    EXPECT_LT(ShareOfWhite(sample, 0.15f), 0.97) << "image " << index << " is blank";
  }
}

}  // namespace
}  // namespace denoise
