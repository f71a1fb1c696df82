#include "core/diffusion/trajectory.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <gtest/gtest.h>

#include <cmath>
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
    return Trajectory(plan_, {}, 3, network_.spec().sample, runtime_, NoiseStart(),
                      std::move(inpainting));
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

// The library's way with latents.
TEST_F(TrajectoryTest, AKnownPartWithoutFreshNoiseHasThatOfTheStartAtEveryEvaluation) {
  const auto heun = std::make_shared<const SamplerPlan>(
      *CompilePlan(*Schedule::Create({}), {.sampler = SamplerKind::kHeun, .steps = 3}));
  Inpainting inpainting = HalfKnown();
  inpainting.fresh_noise = false;
  const auto& shape = network_.spec().sample;
  const at::Tensor noise = NoiseSource(8).Draw(shape.sizes());
  Trajectory trajectory(heun, {}, 3, shape, runtime_, NoiseStart{.from = uint64_t{8}}, inpainting);
  for (size_t e = 0; !trajectory.done(); ++e) {
    ASSERT_TRUE(trajectory.KeepsKnown()) << "also within a step";
    const bool last = e + 1 == heun->evaluations.size();
    const NoiseLevel level = last ? NoiseLevel{1, 0} : heun->LevelAfter(e);
    const at::Tensor expected = inpainting.picture * level.alpha + noise * level.sigma;
    EXPECT_TRUE(trajectory.known(runtime_).allclose(expected)) << "evaluation " << e;
    trajectory.Advance(trajectory.slots());
  }
}

// A sampler's noise is the draw that follows, as if nothing was inpainted.
TEST_F(TrajectoryTest, AKnownPartWithoutFreshNoiseDrawsNothing) {
  Inpainting inpainting = HalfKnown();
  inpainting.fresh_noise = false;
  Trajectory plain = Make(), inpainted = Make(inpainting);
  inpainted.known(runtime_);
  for (Trajectory* trajectory : {&plain, &inpainted}) {
    trajectory->noise();
    trajectory->Advance(trajectory->slots());
  }
  EXPECT_TRUE(inpainted.noise().equal(plain.noise()));
}

TEST_F(TrajectoryTest, DoesNotFollowChangesToThePictureThatItWasGiven) {
  Inpainting inpainting = HalfKnown();
  Trajectory trajectory = Make(inpainting);
  inpainting.mask.fill_(0);
  EXPECT_TRUE(trajectory.mask().eq(0.5).all().item<bool>());
}

TEST_F(TrajectoryTest, ContinuesWithTheNoiseThatComesAfterItsPosition) {
  Trajectory original = Make(HalfKnown()), continued = Make(HalfKnown());
  original.noise();
  original.known(runtime_);
  original.Advance(at::full_like(original.slots(), 7));
  continued.Continue(original.Snapshot(), runtime_);
  EXPECT_EQ(continued.evaluations_done(), 1);
  EXPECT_EQ(continued.steps_done(), 1);
  EXPECT_TRUE(continued.slots().equal(original.slots()));
  EXPECT_TRUE(continued.noise().equal(original.noise()));
  EXPECT_TRUE(continued.known(runtime_).equal(original.known(runtime_)));
}

// It may have drawn the noise of an evaluation that then failed.
TEST_F(TrajectoryTest, NoiseThatWasDrawnAndNotUsedIsDrawnAgain) {
  Trajectory original = Make(), continued = Make();
  const at::Tensor noise = original.noise();
  continued.Continue(original.Snapshot(), runtime_);
  EXPECT_TRUE(continued.noise().equal(noise));
}

TEST_F(TrajectoryTest, ASnapshotDoesNotFollowTheTrajectory) {
  Trajectory trajectory = Make();
  const TrajectorySnapshot snapshot = trajectory.Snapshot();
  const at::Tensor slots = snapshot.slots.clone();
  trajectory.slots().zero_();
  EXPECT_TRUE(snapshot.slots.equal(slots));
}

TEST_F(TrajectoryTest, SnapshotsThatDoNotSuitThePlanAreRefused) {
  const auto check = [&](const TrajectorySnapshot& snapshot) {
    return CheckSnapshot(snapshot, *plan_, network_.spec().sample);
  };
  const at::Tensor slots = Make().slots();
  const int evaluations = static_cast<int>(plan_->evaluations.size());
  EXPECT_TRUE(check({.evaluations_done = evaluations, .slots = slots}).ok()) << "to be decoded";
  EXPECT_FALSE(check({.evaluations_done = -1, .slots = slots}).ok());
  EXPECT_FALSE(check({.evaluations_done = evaluations + 1, .slots = slots}).ok());
  EXPECT_FALSE(check({.slots = slots.repeat({2, 1, 1, 1})}).ok());
  EXPECT_FALSE(check({.slots = slots.narrow(3, 0, 3)}).ok());
  for (const float bad : {INFINITY, NAN}) {
    at::Tensor not_finite = slots.clone();
    not_finite[0][0][3][3] = bad;
    EXPECT_FALSE(check({.slots = not_finite}).ok()) << bad;
  }
}

}  // namespace
}  // namespace denoise
