#include "server/requests/request_validation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/base/field_violations.h"
#include "server/requests/field_checks.h"
#include "tests/server/test_models.h"

namespace denoise {
namespace {

using denoised::v1::GenerateRequest;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr uint64_t kChosenSeed = 4242;

const ModelRepository& Models() {
  static const ModelRepository models(TestModels());
  return models;
}

absl::StatusOr<ResolvedRequest> Resolve(const GenerateRequest& request,
                                        const RequestLimits& limits = {}) {
  return ResolveRequest(request, FindModel(request.model(), Models()), limits, kChosenSeed);
}

GenerateRequest ClassRequest() {
  GenerateRequest request;
  request.set_model("models/emoji");
  request.set_class_label(1);
  return request;
}

std::vector<std::string> Fields(const absl::Status& status) {
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetFieldViolations(status)) {
    fields.push_back(violation.field);
    EXPECT_FALSE(violation.description.empty());
  }
  return fields;
}

void AddClassWeight(GenerateRequest& request, int class_label, double weight) {
  denoised::v1::ClassWeight& entry = *request.add_class_weights();
  entry.set_class_label(class_label);
  entry.set_weight(weight);
}

GenerateRequest BlendRequest(const std::vector<double>& weights) {
  GenerateRequest request = ClassRequest();
  request.clear_class_label();
  for (size_t i = 0; i < weights.size(); ++i) {
    AddClassWeight(request, static_cast<int>(i), weights[i]);
  }
  return request;
}

struct BadRequestCase {
  const char* what;
  const char* field;
  std::function<void(GenerateRequest&)> spoil;
};

void PrintTo(const BadRequestCase& test, std::ostream* out) { *out << test.what; }

class BadRequestTest : public testing::TestWithParam<BadRequestCase> {};

TEST_P(BadRequestTest, IsRefusedNamingTheField) {
  GenerateRequest request = ClassRequest();
  ASSERT_TRUE(Resolve(request).ok());
  GetParam().spoil(request);
  const absl::Status status = Resolve(request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Fields(status), ElementsAre(GetParam().field));
}

#define SPOIL(statement) [](GenerateRequest& r) { statement; }

INSTANTIATE_TEST_SUITE_P(
    Everything, BadRequestTest,
    testing::Values(
        BadRequestCase{"no model", "model", SPOIL(r.clear_model())},
        BadRequestCase{"parent folder", "model", SPOIL(r.set_model("models/../emoji"))},
        BadRequestCase{"only dots", "model", SPOIL(r.set_model("models/.."))},
        BadRequestCase{"absolute path", "model", SPOIL(r.set_model("models//etc/passwd"))},
        BadRequestCase{"no collection", "model", SPOIL(r.set_model("emoji"))},
        BadRequestCase{"zero byte", "model", SPOIL(r.set_model(std::string("models/a\0b", 10)))},
        BadRequestCase{"endless name", "model",
                       SPOIL(r.set_model("models/" + std::string(129, 'a')))},
        BadRequestCase{"no class", "class_label", SPOIL(r.clear_class_label())},
        BadRequestCase{"unknown class", "class_label", SPOIL(r.set_class_label(4))},
        BadRequestCase{"negative class", "class_label", SPOIL(r.set_class_label(-1))},
        BadRequestCase{"count 0", "count", SPOIL(r.set_count(0))},
        BadRequestCase{"negative count", "count", SPOIL(r.set_count(-3))},
        BadRequestCase{"huge count", "count", SPOIL(r.set_count(1'000'000'000))},
        BadRequestCase{"unknown image encoding", "image_encoding",
                       SPOIL(r.set_image_encoding(static_cast<denoised::v1::Encoding>(99)))},
        BadRequestCase{"NaN guidance", "guidance.scale",
                       SPOIL(r.mutable_guidance()->set_scale(kNan))},
        BadRequestCase{"infinite guidance", "guidance.scale",
                       SPOIL(r.mutable_guidance()->set_scale(kInfinity))},
        BadRequestCase{"negative guidance", "guidance.scale",
                       SPOIL(r.mutable_guidance()->set_scale(-0.5))},
        BadRequestCase{"NaN interval", "guidance.timestep_min",
                       SPOIL(r.mutable_guidance()->set_timestep_min(kNan))},
        BadRequestCase{"infinite interval", "guidance.timestep_max",
                       SPOIL(r.mutable_guidance()->set_timestep_max(kInfinity))},
        BadRequestCase {
          "backward interval", "guidance.timestep_min",
              SPOIL(r.mutable_guidance()->set_timestep_min(2);
                    r.mutable_guidance()->set_timestep_max(1))
        },
        BadRequestCase{"negative rescale", "guidance.rescale",
                       SPOIL(r.mutable_guidance()->set_rescale(-0.1))},
        BadRequestCase{"rescale above 1", "guidance.rescale",
                       SPOIL(r.mutable_guidance()->set_rescale(1.1))},
        BadRequestCase{"NaN rescale", "guidance.rescale",
                       SPOIL(r.mutable_guidance()->set_rescale(kNan))},
        BadRequestCase{"NaN noise level", "guidance.sigma_min",
                       SPOIL(r.mutable_guidance()->set_sigma_min(kNan))},
        BadRequestCase{"infinite noise level", "guidance.sigma_max",
                       SPOIL(r.mutable_guidance()->set_sigma_max(kInfinity))},
        BadRequestCase{"negative noise level", "guidance.sigma_max",
                       SPOIL(r.mutable_guidance()->set_sigma_max(-1))},
        BadRequestCase {
          "backward noise levels", "guidance.sigma_min",
              SPOIL(r.mutable_guidance()->set_sigma_min(2); r.mutable_guidance()->set_sigma_max(1))
        },
        BadRequestCase {
          "both kinds of interval", "guidance.sigma_max",
              SPOIL(r.mutable_guidance()->set_timestep_min(2);
                    r.mutable_guidance()->set_sigma_max(1))
        },
        BadRequestCase{"a class and weights", "class_weights", SPOIL(AddClassWeight(r, 0, 1))},
        BadRequestCase {
          "guidance without a null class", "guidance",
              SPOIL(r.set_model("models/labels"); r.mutable_guidance()->set_scale(2))
        },
        BadRequestCase{"a class for an unconditional model", "class_label",
                       SPOIL(r.set_model("models/faces"))},
        BadRequestCase{"no frame distance", "frames.every_n_steps", SPOIL(r.mutable_frames())},
        BadRequestCase{"negative frame distance", "frames.every_n_steps",
                       SPOIL(r.mutable_frames()->set_every_n_steps(-1))},
        BadRequestCase {
          "unknown frame kind", "frames.kinds[0]",
              SPOIL(r.mutable_frames()->set_every_n_steps(1);
                    r.mutable_frames()->add_kinds(static_cast<denoised::v1::FrameKind>(7)))
        },
        BadRequestCase {
          "unspecified frame kind", "frames.kinds[1]",
              SPOIL(r.mutable_frames()->set_every_n_steps(1);
                    r.mutable_frames()->add_kinds(denoised::v1::FRAME_KIND_X0);
                    r.mutable_frames()->add_kinds(denoised::v1::FRAME_KIND_UNSPECIFIED))
        },
        BadRequestCase {
          "frame kind given twice", "frames.kinds[2]",
              SPOIL(r.mutable_frames()->set_every_n_steps(1);
                    r.mutable_frames()->add_kinds(denoised::v1::FRAME_KIND_X0);
                    r.mutable_frames()->add_kinds(denoised::v1::FRAME_KIND_X_T);
                    r.mutable_frames()->add_kinds(denoised::v1::FRAME_KIND_X0))
        },
        BadRequestCase {
          "unknown frame encoding", "frames.encoding",
              SPOIL(r.mutable_frames()->set_every_n_steps(1);
                    r.mutable_frames()->set_encoding(static_cast<denoised::v1::Encoding>(-1)))
        },
        BadRequestCase {
          "negative frame size", "frames.max_bytes",
              SPOIL(r.mutable_frames()->set_every_n_steps(1); r.mutable_frames()->set_max_bytes(-1))
        },
        BadRequestCase {
          "frame size over the limit", "frames.max_bytes",
              SPOIL(r.mutable_frames()->set_every_n_steps(1);
                    r.mutable_frames()->set_max_bytes(2'000'000'000))
        },
        BadRequestCase{"steps 0", "sampler.steps", SPOIL(r.mutable_sampler()->set_steps(0))},
        BadRequestCase{"steps beyond the limit", "sampler.steps",
                       SPOIL(r.mutable_sampler()->set_steps(1'000'000))},
        BadRequestCase{
            "unknown sampler", "sampler.sampler",
            SPOIL(r.mutable_sampler()->set_sampler(static_cast<denoised::v1::Sampler>(50)))},
        BadRequestCase {
          "NaN timestep", "sampler.timesteps[1]",
              SPOIL(r.mutable_sampler()->add_timesteps(9); r.mutable_sampler()->add_timesteps(kNan))
        },
        BadRequestCase{"timestep beyond the schedule", "sampler.timesteps[0]",
                       SPOIL(r.mutable_sampler()->add_timesteps(1000))},
        BadRequestCase{"an option of another sampler", "sampler.eta",
                       SPOIL(r.mutable_sampler()->set_eta(0.5))},
        BadRequestCase{"a variance that the model does not predict", "sampler.variance_type",
                       SPOIL(r.mutable_sampler()->set_variance_type(
                           denoised::v1::VARIANCE_TYPE_LEARNED_RANGE))}));

TEST(RequestValidation, NamesEveryViolationAtOnce) {
  GenerateRequest request = ClassRequest();
  request.set_count(0);
  request.set_class_label(17);
  request.mutable_guidance()->set_scale(kNan);
  request.mutable_frames();
  request.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DPMPP);
  request.mutable_sampler()->set_steps(0);
  request.mutable_sampler()->set_solver_order(9);
  EXPECT_THAT(Fields(Resolve(request).status()),
              UnorderedElementsAre("count", "class_label", "guidance.scale", "frames.every_n_steps",
                                   "sampler.steps", "sampler.solver_order"));
}

TEST(RequestValidation, AnAbsentModelIsNotFound) {
  GenerateRequest request = ClassRequest();
  request.set_model("models/absent");
  EXPECT_EQ(Resolve(request).status().code(), absl::StatusCode::kNotFound);
}

TEST(RequestValidation, AMalformedRequestForAnAbsentModelIsInvalid) {
  GenerateRequest request = ClassRequest();
  request.set_model("models/absent");
  request.set_count(-1);
  EXPECT_THAT(Fields(Resolve(request).status()), ElementsAre("count"));
}

TEST(RequestValidation, FillsInDefaultsAndSaysSo) {
  GenerateRequest request;
  request.set_model("models/faces");
  const auto resolved = Resolve(request);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->generation.count, 1);
  EXPECT_EQ(resolved->generation.seed, kChosenSeed);
  EXPECT_EQ(resolved->generation.frames.every_n_steps, 0);
  EXPECT_EQ(resolved->image_encoding, denoised::v1::ENCODING_PNG);

  const denoised::v1::Accepted& accepted = resolved->accepted;
  EXPECT_EQ(accepted.model(), "models/faces");
  EXPECT_EQ(accepted.model_version(), "0123abcd");
  EXPECT_EQ(accepted.seed(), kChosenSeed);
  EXPECT_EQ(accepted.count(), 1);
  EXPECT_EQ(accepted.steps(), 20);
  EXPECT_EQ(accepted.evaluations(), 20);
  EXPECT_EQ(accepted.timesteps_size(), 20);
  EXPECT_EQ(accepted.sampler().sampler(), denoised::v1::SAMPLER_DDPM);
  EXPECT_EQ(accepted.sampler().steps(), 20);
  EXPECT_FALSE(accepted.has_guidance());
}

TEST(RequestValidation, ResolvesEverythingThatIsSet) {
  GenerateRequest request = ClassRequest();
  request.set_count(3);
  request.set_seed(std::numeric_limits<uint64_t>::max());
  request.mutable_guidance()->set_scale(2.5);
  request.mutable_guidance()->set_rescale(0.5);
  request.mutable_guidance()->set_timestep_max(800);
  request.mutable_frames()->set_every_n_steps(5);
  request.mutable_frames()->set_skip_last(true);
  request.mutable_frames()->add_kinds(denoised::v1::FRAME_KIND_X_T);
  request.mutable_frames()->set_encoding(denoised::v1::ENCODING_WEBP);
  request.mutable_frames()->set_max_bytes(1000);
  request.set_image_encoding(denoised::v1::ENCODING_RAW_FLOAT32);
  const auto resolved = Resolve(request);
  ASSERT_TRUE(resolved.ok()) << resolved.status();

  const GenerationRequest& generation = resolved->generation;
  EXPECT_EQ(generation.count, 3);
  EXPECT_EQ(generation.seed, std::numeric_limits<uint64_t>::max());
  ASSERT_EQ(generation.conditioning.conditions.size(), 1u);
  EXPECT_EQ(generation.conditioning.conditions[0].condition->class_label, 1);
  EXPECT_EQ(generation.conditioning.conditions[0].weight, 1);
  EXPECT_EQ(generation.conditioning.unconditional->class_label, 3);
  EXPECT_EQ(generation.conditioning.guidance.scale, 2.5);
  EXPECT_EQ(generation.conditioning.guidance.rescale, 0.5);
  EXPECT_EQ(generation.conditioning.guidance.timesteps.max, 800);
  EXPECT_TRUE(std::isinf(generation.conditioning.guidance.timesteps.min));
  EXPECT_TRUE(std::isinf(generation.conditioning.guidance.sigmas.max));
  EXPECT_EQ(generation.frames.every_n_steps, 5);
  EXPECT_TRUE(generation.frames.skip_last);
  EXPECT_THAT(generation.frames.kinds, ElementsAre(FrameKind::kXt));
  EXPECT_EQ(resolved->frame_encoding, denoised::v1::ENCODING_WEBP);
  EXPECT_EQ(resolved->frame_bytes_max, 1000);
  EXPECT_EQ(resolved->image_encoding, denoised::v1::ENCODING_RAW_FLOAT32);
  EXPECT_EQ(resolved->accepted.guidance().scale(), 2.5);
  EXPECT_EQ(resolved->accepted.guidance().rescale(), 0.5);
  ASSERT_EQ(resolved->accepted.class_weights_size(), 1);
  EXPECT_EQ(resolved->accepted.class_weights(0).class_label(), 1);
  EXPECT_EQ(resolved->accepted.class_weights(0).weight(), 1);
}

// The case is M6.
TEST(RequestValidation, GuidanceSaysHowAModelDeclaresItsNullClass) {
  const auto message = [](const char* model) {
    GenerateRequest request = ClassRequest();
    request.set_model(model);
    request.mutable_guidance()->set_scale(2);
    return std::string(Resolve(request).status().message());
  };
  EXPECT_THAT(message("models/labels"),
              testing::HasSubstr("\"null_class_label\": LABEL to the model_index.json"));
  EXPECT_THAT(message("models/faces"), testing::HasSubstr("this model has no classes"));
}

TEST(RequestValidation, AnIntervalMayBeOneOfNoiseLevels) {
  GenerateRequest request = ClassRequest();
  request.mutable_guidance()->set_scale(2);
  request.mutable_guidance()->set_sigma_min(0.25);
  request.mutable_guidance()->set_sigma_max(4);
  const auto resolved = Resolve(request);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->generation.conditioning.guidance.sigmas.min, 0.25);
  EXPECT_EQ(resolved->generation.conditioning.guidance.sigmas.max, 4);
  EXPECT_EQ(resolved->accepted.guidance().sigma_max(), 4);
}

std::vector<double> AcceptedWeights(const GenerateRequest& request) {
  const auto resolved = Resolve(request);
  EXPECT_TRUE(resolved.ok()) << resolved.status();
  std::vector<double> weights;
  for (const auto& entry : resolved->accepted.class_weights()) weights.push_back(entry.weight());
  return weights;
}

TEST(RequestValidation, ClassWeightsAreDividedByTheirSum) {
  EXPECT_THAT(AcceptedWeights(BlendRequest({3, 1})), ElementsAre(0.75, 0.25));
  EXPECT_THAT(AcceptedWeights(BlendRequest({7})), ElementsAre(1));
  constexpr double kHuge = std::numeric_limits<double>::max();
  EXPECT_THAT(AcceptedWeights(BlendRequest({kHuge, kHuge})), ElementsAre(0.5, 0.5));
  constexpr double kTiny = std::numeric_limits<double>::denorm_min();
  EXPECT_THAT(AcceptedWeights(BlendRequest({kTiny, 1})), ElementsAre(kTiny, 1));
  const auto resolved = Resolve(BlendRequest({3, 1}));
  const std::vector<WeightedCondition>& weights = resolved->generation.conditioning.conditions;
  ASSERT_EQ(weights.size(), 2u);
  EXPECT_EQ(weights[1].condition->class_label, 1);
  EXPECT_EQ(weights[1].weight, 0.25);
}

TEST(RequestValidation, EveryClassWeightIsChecked) {
  GenerateRequest request = BlendRequest({0, -1, kNan, kInfinity});
  EXPECT_THAT(Fields(Resolve(request).status()),
              ElementsAre("class_weights[0].weight", "class_weights[1].weight",
                          "class_weights[2].weight", "class_weights[3].weight"));
  request = BlendRequest({1, 1});
  AddClassWeight(request, 1, 0.5);
  AddClassWeight(request, 4, 0.5);
  AddClassWeight(request, -1, 0.5);
  EXPECT_THAT(Fields(Resolve(request).status()),
              ElementsAre("class_weights[2].class_label", "class_weights[3].class_label",
                          "class_weights[4].class_label"));
  EXPECT_THAT(Fields(Resolve(BlendRequest(std::vector<double>(9, 1))).status()),
              ElementsAre("class_weights"));
}

TEST(RequestValidation, ABlendNeedsAModelWithClasses) {
  GenerateRequest request = BlendRequest({1});
  request.set_model("models/faces");
  EXPECT_THAT(Fields(Resolve(request).status()), ElementsAre("class_weights"));
}

TEST(RequestValidation, AnImageTakesNoMoreRowsThanTheServerEvaluatesAtOnce) {
  GenerateRequest request = BlendRequest({1, 1, 1});
  EXPECT_TRUE(Resolve(request, {.max_rows = 3}).ok());
  EXPECT_THAT(Fields(Resolve(request, {.max_rows = 2}).status()), ElementsAre("class_weights"));
  request.mutable_guidance()->set_scale(2);
  EXPECT_TRUE(Resolve(request, {.max_rows = 4}).ok());
  EXPECT_THAT(Fields(Resolve(request, {.max_rows = 3}).status()), ElementsAre("class_weights"));
}

TEST(RequestValidation, AGuidanceOfOneNeedsNoNullClass) {
  GenerateRequest request = ClassRequest();
  request.set_model("models/labels");
  request.mutable_guidance()->set_scale(1);
  EXPECT_TRUE(Resolve(request).ok());
}

TEST(RequestValidation, TheLimitsAreTheServers) {
  GenerateRequest request = ClassRequest();
  request.set_count(3);
  request.mutable_sampler()->set_steps(11);
  EXPECT_THAT(Fields(Resolve(request, {.max_steps = 10, .max_images = 2}).status()),
              UnorderedElementsAre("count", "sampler.steps"));
  // 8 x 8 pixels each.
  EXPECT_TRUE(Resolve(request, {.max_pixels = 3 * 64}).ok());
  EXPECT_THAT(Fields(Resolve(request, {.max_pixels = 3 * 64 - 1}).status()), ElementsAre("count"));
}

TEST(RequestValidation, RequestsForOneModelShareItsNetworks) {
  const auto first = Resolve(ClassRequest()), second = Resolve(ClassRequest());
  EXPECT_EQ(first->generation.pipelines.get(), second->generation.pipelines.get());
}

absl::StatusOr<ResolvedPlan> ResolvePlan(const denoised::v1::PlanSamplerRequest& request,
                                         const RequestLimits& limits = {}) {
  return ResolvePlanRequest(request, Models(), limits);
}

TEST(PlanRequest, GetsThePlanThatTheSameRequestIsRunWith) {
  GenerateRequest generate = ClassRequest();
  generate.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_UNIPC);
  generate.mutable_sampler()->set_steps(7);
  denoised::v1::PlanSamplerRequest request;
  request.set_model(generate.model());
  *request.mutable_sampler() = generate.sampler();
  const auto plan = ResolvePlan(request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(PlanToJson(*plan->plan), PlanToJson(*Resolve(generate)->generation.plan));
  EXPECT_EQ(plan->model->id, "emoji");
  EXPECT_EQ(plan->options.sampler, SamplerKind::kUniPc);
}

TEST(PlanRequest, IsRefusedAsAGenerationWouldBe) {
  denoised::v1::PlanSamplerRequest request;
  request.set_model("emoji");
  EXPECT_THAT(Fields(ResolvePlan(request).status()), ElementsAre("model"));
  request.set_model("models/absent");
  EXPECT_EQ(ResolvePlan(request).status().code(), absl::StatusCode::kNotFound);
  request.set_model("models/emoji");
  request.mutable_sampler()->set_steps(11);
  request.mutable_sampler()->set_eta(0.5);
  EXPECT_THAT(Fields(ResolvePlan(request, {.max_steps = 10}).status()),
              UnorderedElementsAre("sampler.steps", "sampler.eta"));
  request.clear_sampler();
  request.mutable_sampler()->set_variance_type(denoised::v1::VARIANCE_TYPE_LEARNED);
  EXPECT_THAT(Fields(ResolvePlan(request).status()), ElementsAre("sampler.variance_type"));
}

TEST(Sharing, PrioritiesAreResolved) {
  GenerateRequest request = ClassRequest();
  EXPECT_EQ(Resolve(request)->generation.priority, Priority::kNormal);
  EXPECT_EQ(Resolve(request)->accepted.priority(), denoised::v1::PRIORITY_NORMAL);
  request.set_priority(denoised::v1::PRIORITY_BATCH);
  EXPECT_EQ(Resolve(request)->generation.priority, Priority::kBatch);
  request.set_priority(denoised::v1::PRIORITY_INTERACTIVE);
  EXPECT_EQ(Resolve(request)->generation.priority, Priority::kInteractive);
  request.set_priority(static_cast<denoised::v1::Priority>(7));
  EXPECT_THAT(Fields(Resolve(request).status()), ElementsAre("priority"));
}

TEST(Sharing, FewerStepsMakeNoSenseWithStepsThatAreSpelledOutOrWithoutADeadline) {
  GenerateRequest request = ClassRequest();
  request.set_allow_fewer_steps(true);
  EXPECT_TRUE(Resolve(request).ok());
  request.set_on_disconnect(denoised::v1::ON_DISCONNECT_DETACH);
  EXPECT_THAT(Fields(Resolve(request).status()), ElementsAre("allow_fewer_steps"));
  request.clear_on_disconnect();
  request.mutable_sampler()->add_timesteps(500);
  EXPECT_THAT(Fields(Resolve(request).status()), ElementsAre("allow_fewer_steps"));
}

// Of samplers that take one, two and a varying number of evaluations for a step.
TEST(Sharing, AsManyStepsAsFitAreFound) {
  for (const auto sampler :
       {denoised::v1::SAMPLER_DDIM, denoised::v1::SAMPLER_HEUN, denoised::v1::SAMPLER_PNDM}) {
    GenerateRequest request = ClassRequest();
    request.mutable_sampler()->set_sampler(sampler);
    request.mutable_sampler()->set_steps(50);
    const auto evaluations = [&](int steps) {
      GenerateRequest fewer = request;
      fewer.mutable_sampler()->set_steps(steps);
      return Resolve(fewer)->accepted.evaluations();
    };
    const ModelHandle model = *FindModel(request.model(), Models());
    for (int evaluations_max = 1; evaluations_max < evaluations(50); ++evaluations_max) {
      const auto steps = StepsWithin(request, *model, {}, {}, evaluations_max);
      if (!steps) {
        EXPECT_GT(evaluations(1), evaluations_max);
        continue;
      }
      EXPECT_LE(evaluations(*steps), evaluations_max);
      if (*steps < 49) {
        EXPECT_GT(evaluations(*steps + 1), evaluations_max);
      }
    }
  }
}

TEST(Sharing, OfARunThatStartsFromAPictureTheRemainingStepsCount) {
  GenerateRequest request = ClassRequest();
  request.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DDIM);
  request.mutable_sampler()->set_steps(100);
  request.mutable_start()->mutable_image()->set_strength(0.5);
  const ModelHandle model = *FindModel(request.model(), Models());
  EXPECT_THAT(StepsWithin(request, *model, {}, {}, 20), ::testing::Optional(41));
}

}  // namespace
}  // namespace denoise
