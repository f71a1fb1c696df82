#include "core/diffusion/trajectory.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>

#include "core/sampling/samplers/compile_plan.h"
#include "tests/core/device/capturing_runtime.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

class TrajectoryTest : public testing::Test {
 protected:
  Trajectory Make(std::optional<Inpainting> inpainting = std::nullopt) {
    return Trajectory(plan_, {}, 3, network_, runtime_, NoiseStart(), std::move(inpainting));
  }

  static Inpainting HalfKnown() {
    return {.picture = at::full({1, 4, 4}, 0.5F), .mask = at::full({1, 4, 4}, 0.5F)};
  }

  const GaussianNetwork network_{*Schedule::Create({}), GaussianData(), 1, 4, 4};
  const std::shared_ptr<const SamplerPlan> plan_ = std::make_shared<const SamplerPlan>(
      *CompilePlan(*Schedule::Create({}), {.sampler = SamplerKind::kDdpm, .steps = 3}));
  CapturingRuntime runtime_;
};

TEST_F(TrajectoryTest, AKnownPartThatCouldNotBeUploadedHasItsNoiseAtTheNextTry) {
  Trajectory undisturbed = Make(HalfKnown()), retried = Make(HalfKnown());
  const at::Tensor expected = undisturbed.known(runtime_);
  runtime_.on_upload = [] { throw std::runtime_error("out of memory"); };
  for (int i = 0; i < 2; ++i) EXPECT_ANY_THROW(retried.known(runtime_));
  runtime_.on_upload = nullptr;
  EXPECT_TRUE(retried.known(runtime_).equal(expected));
  EXPECT_FALSE(expected.eq(expected[0][0][0]).all().item<bool>()) << "has noise";
}

TEST_F(TrajectoryTest, EverythingFromTheHostIsUploadedThroughTheRuntime) {
  int uploads = 0;
  runtime_.on_upload = [&] { ++uploads; };
  Make();
  EXPECT_EQ(uploads, 1) << "the starting state";
  Trajectory inpainted = Make(HalfKnown());
  EXPECT_EQ(uploads, 4) << "and the picture and the mask";
  inpainted.known(runtime_);
  inpainted.known(runtime_);
  EXPECT_EQ(uploads, 5) << "and the noise of the known part, once";
}

TEST_F(TrajectoryTest, DoesNotFollowChangesToThePictureThatItWasGiven) {
  Inpainting inpainting = HalfKnown();
  Trajectory trajectory = Make(inpainting);
  inpainting.mask.fill_(0);
  EXPECT_TRUE(trajectory.mask().eq(0.5).all().item<bool>());
}

}  // namespace
}  // namespace denoise
