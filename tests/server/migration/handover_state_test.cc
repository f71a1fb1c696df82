#include "server/migration/handover_state.h"

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>

#include "core/base/error_details.h"
#include "server/requests/field_checks.h"
#include "tests/server/test_models.h"

namespace denoise {
namespace {

using denoised::v1::GenerateRequest;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kNextSequence = 12;

// That the first server chose.
constexpr uint64_t kSeed = 77;

GenerateRequest ThreeImages() {
  GenerateRequest request;
  request.set_model("models/faces");
  request.set_count(3);
  request.mutable_sampler()->set_steps(4);
  return request;
}

ResolvedRequest Resolve(const GenerateRequest& request, uint64_t seed = kSeed) {
  static const ModelRepository models(TestModels());
  auto resolved = ResolveRequest(request, FindModel(request.model(), models), {}, seed);
  EXPECT_TRUE(resolved.ok()) << resolved.status();
  return *std::move(resolved);
}

at::Tensor Slots(float value) { return at::full({1, 3, 8, 8}, value); }

// Image 1 is done, image 0 has two of its four evaluations behind it, image 2 has not begun.
HandoverState StateOf(const GenerateRequest& request) {
  const ResolvedRequest resolved = Resolve(request);
  return MakeHandoverState(
      request, resolved.accepted, *resolved.generation.plan,
      {.images_done = {1}, .images_begun = {{0, {.evaluations_done = 2, .slots = Slots(0.5F)}}}},
      kNextSequence);
}

absl::StatusOr<ResolvedRequest> Continue(const HandoverState& state) {
  const auto parsed = ParseHandoverState(state.SerializeAsString());
  if (!parsed.ok()) return parsed.status();
  ResolvedRequest resolved = Resolve(RequestToResolve(*parsed), parsed->accepted().seed());
  if (absl::Status status = ContinueFrom(*parsed, resolved); !status.ok()) return status;
  return resolved;
}

TEST(HandoverState, ContinuesWhereTheOtherServerStopped) {
  const auto resolved = Continue(StateOf(ThreeImages()));
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->first_sequence, kNextSequence);
  EXPECT_EQ(resolved->accepted.evaluations_done(), 4 + 2);
  EXPECT_EQ(resolved->generation.seed, kSeed);
  const Continuation& done = resolved->generation.continues_from;
  EXPECT_THAT(done.images_done, ElementsAre(1));
  ASSERT_EQ(done.images_begun.size(), 1);
  EXPECT_EQ(done.images_begun.front().image_index, 0);
  EXPECT_EQ(done.images_begun.front().trajectory.evaluations_done, 2);
  EXPECT_TRUE(done.images_begun.front().trajectory.slots.equal(Slots(0.5F)));
}

TEST(HandoverState, HoldsTheRequestAsItWasSent) {
  EXPECT_EQ(StateOf(ThreeImages()).request().SerializeAsString(),
            ThreeImages().SerializeAsString());
}

// The deadline of the call that continues is another one.
TEST(HandoverState, KeepsTheStepsThatFittedTheFirstDeadline) {
  GenerateRequest request = ThreeImages();
  request.mutable_sampler()->set_steps(40);
  request.set_allow_fewer_steps(true);
  HandoverState state = StateOf(ThreeImages());  // of 4 steps
  *state.mutable_request() = request;
  state.mutable_accepted()->set_steps_requested(40);
  const auto resolved = Continue(state);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->accepted.steps_requested(), 40);
  EXPECT_EQ(resolved->generation.plan->NumSteps(), 4);
}

struct Unsuitable {
  const char* name;
  std::function<void(HandoverState&)> change;
  const char* message;
};

class UnsuitableState : public testing::TestWithParam<Unsuitable> {};

TEST_P(UnsuitableState, IsRefusedBeforeAnythingRuns) {
  HandoverState state = StateOf(ThreeImages());
  GetParam().change(state);
  const absl::Status status = Continue(state).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(GetErrorReason(status), "HANDOVER_UNSUITABLE");
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().message));
  EXPECT_THAT(std::string(status.message()), HasSubstr("again without handover"));
}

BegunImage& Begun(HandoverState& state) { return *state.mutable_images_begun(0); }

void SetSlots(HandoverState& state, float value) {
  const at::Tensor slots = Slots(value);
  Begun(state).set_slots(
      std::string(reinterpret_cast<const char*>(slots.const_data_ptr<float>()), slots.nbytes()));
}

INSTANTIATE_TEST_SUITE_P(
    Handovers, UnsuitableState,
    testing::Values(
        Unsuitable{"OtherModelVersion",
                   [](HandoverState& state) { state.mutable_accepted()->set_model_version("9"); },
                   "models/faces has another version"},
        Unsuitable{"OtherAdapters",
                   [](HandoverState& state) { state.mutable_accepted()->add_adapters(); },
                   "other adapters"},
        Unsuitable{
            "OtherPlan",
            [](HandoverState& state) { state.mutable_request()->mutable_sampler()->set_steps(5); },
            "another plan"},
        Unsuitable{"NegativeSequence", [](HandoverState& state) { state.set_next_sequence(-1); },
                   "negative"},
        Unsuitable{"DoneImageOutOfRange", [](HandoverState& state) { state.add_images_done(3); },
                   "image 3"},
        Unsuitable{"BegunImageOutOfRange",
                   [](HandoverState& state) { Begun(state).set_image_index(-1); }, "image -1"},
        Unsuitable{"DoneTwice", [](HandoverState& state) { state.add_images_done(1); },
                   "named twice"},
        Unsuitable{"BegunAndDone", [](HandoverState& state) { Begun(state).set_image_index(1); },
                   "named twice"},
        Unsuitable{"EvaluationsBeyondThePlan",
                   [](HandoverState& state) { Begun(state).set_evaluations_done(5); },
                   "between 0 and 4"},
        Unsuitable{"NegativeEvaluations",
                   [](HandoverState& state) { Begun(state).set_evaluations_done(-1); },
                   "between 0 and 4"},
        Unsuitable{"TooFewBytes",
                   [](HandoverState& state) { Begun(state).mutable_slots()->pop_back(); }, "bytes"},
        Unsuitable{
            "SlotsOfAnotherSampler",
            [](HandoverState& state) { *Begun(state).mutable_slots() += Begun(state).slots(); },
            "bytes"},
        Unsuitable{"NotFinite", [](HandoverState& state) { SetSlots(state, NAN); }, "not finite"},
        Unsuitable{"Infinite", [](HandoverState& state) { SetSlots(state, INFINITY); },
                   "not finite"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(HandoverState, BytesThatAreNoStateAreRefused) {
  EXPECT_TRUE(absl::IsFailedPrecondition(ParseHandoverState("\xff\xff").status()));
}

}  // namespace
}  // namespace denoise
