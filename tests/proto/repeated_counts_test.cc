#include "proto/conversion/repeated_counts.h"

#include <gtest/gtest.h>

#include "core/base/field_violations.h"
#include "denoised/v1/image_generation.pb.h"
#include "denoised/v1/training.pb.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

std::string Field(const google::protobuf::Message& request) {
  const auto violations = GetFieldViolations(CheckRepeatedCounts(request));
  return violations.size() == 1 ? violations[0].field : "";
}

TEST(RepeatedCounts, AreCheckedAtAnyDepth) {
  v1::GenerateRequest frames;
  for (int i = 0; i <= kMaxRepeated; ++i) frames.mutable_frames()->add_kinds({});
  EXPECT_EQ(Field(frames), "frames.kinds");
  EXPECT_EQ(CheckRepeatedCounts(frames).message(),
            "frames.kinds: must have at most 4096 entries, has 4097");
  v1::GenerateRequest sampler;
  for (int i = 0; i <= kMaxRepeated; ++i) sampler.mutable_sampler()->add_timesteps(1);
  EXPECT_EQ(Field(sampler), "sampler.timesteps");
  v1::DiffuseRequest pictures;
  for (int i = 0; i <= kMaxRepeated; ++i) pictures.add_pictures();
  EXPECT_EQ(Field(pictures), "pictures");
  v1::ListTrainingJobsRequest states;
  for (int i = 0; i <= kMaxRepeated; ++i) states.add_states({});
  EXPECT_EQ(Field(states), "states");
}

TEST(RepeatedCounts, LetPassWhatRequestsNeed) {
  v1::GenerateRequest request;
  for (int i = 0; i < kMaxRepeated; ++i) request.mutable_sampler()->add_timesteps(1);
  for (int i = 0; i < kMaxRepeated; ++i) request.add_class_weights()->set_weight(1);
  EXPECT_TRUE(CheckRepeatedCounts(request).ok());
  EXPECT_TRUE(CheckRepeatedCounts(v1::GenerateRequest()).ok());
}

}  // namespace
}  // namespace denoise
