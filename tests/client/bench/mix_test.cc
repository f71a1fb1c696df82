#include "client/bench/mix.h"

#include <map>

#include "core/base/field_violations.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Lt;

std::string Refusal(std::string_view json) {
  const absl::StatusOr<Mix> mix = ParseMix(json);
  EXPECT_TRUE(absl::IsInvalidArgument(mix.status())) << json;
  return std::string(mix.status().message());
}

TEST(Mix, EveryKeyBecomesItsField) {
  const auto mix = ParseMix(R"([{
    "name": "slow", "weight": 2.5, "model": "sd15", "prompt": "a fox", "sampler": "dpmpp_2m",
    "steps": 20, "guidance_scale": 7.5, "height": 512, "width": 768, "count": 3, "frames": 2,
    "priority": "batch", "allow_fewer_steps": true, "tenant": "acme", "deadline_seconds": 1.5,
    "class_label": 4, "seed": 9, "slow_reader": {"bytes_per_second": 1000, "pause_seconds": 0.5}
  }])");
  ASSERT_TRUE(mix.ok()) << mix.status();
  const MixEntry& entry = mix->front();
  EXPECT_EQ(entry.weight, 2.5);
  const LoadRequest& load = entry.request;
  EXPECT_EQ(load.entry, "slow");
  EXPECT_EQ(load.tenant, "acme");
  EXPECT_EQ(load.deadline, absl::Milliseconds(1500));
  EXPECT_EQ(load.pace, (ReadPace{.pause_seconds = 0.5, .bytes_per_second = 1000}));
  const v1::GenerateRequest& request = load.request;
  EXPECT_EQ(request.model(), "models/sd15");
  EXPECT_EQ(request.prompt(), "a fox");
  EXPECT_EQ(request.sampler().sampler(), v1::SAMPLER_DPMPP);
  EXPECT_EQ(request.sampler().solver_order(), 2);
  EXPECT_EQ(request.sampler().steps(), 20);
  EXPECT_EQ(request.guidance().scale(), 7.5);
  EXPECT_EQ(request.height(), 512);
  EXPECT_EQ(request.width(), 768);
  EXPECT_EQ(request.count(), 3);
  EXPECT_EQ(request.frames().every_n_steps(), 2);
  EXPECT_EQ(request.priority(), v1::PRIORITY_BATCH);
  EXPECT_TRUE(request.allow_fewer_steps());
  EXPECT_EQ(request.class_label(), 4);
  EXPECT_EQ(request.seed(), 9u);
}

TEST(Mix, EntriesWithoutANameAreNamedForWhatSetsThemApart) {
  const auto mix = ParseMix(R"([{"steps": 5}, {"steps": 5, "priority": "batch"},
                                {"steps": 5, "tenant": "acme"}, {}])");
  ASSERT_TRUE(mix.ok()) << mix.status();
  std::vector<std::string> names;
  for (const MixEntry& entry : *mix) names.push_back(entry.request.entry);
  EXPECT_THAT(names, ElementsAre("5 steps", "5 steps, batch", "5 steps, acme", "all"));
}

TEST(Mix, RefusalsNameTheEntryAndTheKey) {
  EXPECT_THAT(Refusal("{}"), HasSubstr("must be a JSON list of 1 to 64 entries"));
  EXPECT_THAT(Refusal("[]"), HasSubstr("must be a JSON list"));
  EXPECT_THAT(Refusal("[{}, 3]"), HasSubstr("[1]: must be an object"));
  EXPECT_THAT(Refusal(R"([{"steps": 5}, {"steps": 5}])"),
              HasSubstr("[1].name: must differ from the others; is 5 steps"));
  EXPECT_THAT(Refusal(R"([{"stepz": 5}])"), HasSubstr("[0].stepz: is not a key"));
  EXPECT_THAT(Refusal(R"([{"steps": 0}])"), HasSubstr("[0].steps: must be an integer"));
  EXPECT_THAT(Refusal(R"([{"steps": null}])"), HasSubstr("[0].steps"));
  EXPECT_THAT(Refusal(R"([{"sampler": "best"}])"), HasSubstr("[0].sampler: must be one of ddpm"));
  EXPECT_THAT(Refusal(R"([{"priority": "high"}])"),
              HasSubstr("[0].priority: must be one of interactive, normal, batch"));
  EXPECT_THAT(Refusal(R"([{"weight": -1}])"), HasSubstr("[0].weight: must be above 0"));
  EXPECT_THAT(Refusal(R"([{"deadline_seconds": 0}])"), HasSubstr("[0].deadline_seconds"));
  EXPECT_THAT(Refusal(R"([{"tenant": "a\nb"}])"), HasSubstr("[0].tenant: must be 1 to 64"));
  EXPECT_THAT(Refusal(R"([{"slow_reader": {}}])"), HasSubstr("[0].slow_reader: must have"));
  EXPECT_THAT(Refusal(R"([{"slow_reader": {"pause_seconds": 61}}])"),
              HasSubstr("[0].slow_reader.pause_seconds: must be above 0 and at most 60; is 61"));
  EXPECT_THAT(Refusal(R"([{"prompt": "a", "prompts": ["b"]}])"),
              HasSubstr("[0].prompts: cannot be combined with prompt"));
  EXPECT_THAT(Refusal(R"([{"prompts": [1]}])"), HasSubstr("[0].prompts: must be a list of"));
  EXPECT_THAT(Refusal(R"([{"steps": 5, "steps": 6}])"), HasSubstr("steps"));
}

TEST(Mix, EveryWrongKeyIsListed) {
  const absl::Status status = ParseMix(R"([{"steps": 0, "count": 0}, {"frames": 0}])").status();
  EXPECT_EQ(GetFieldViolations(status).size(), 3u);
}

TEST(Mix, RequestsComeAsOftenAsTheirWeightsSay) {
  SeededRandom random(5);
  std::map<std::string, int> drawn;
  constexpr int kRequests = 20'000;
  for (int i = 0; i < kRequests; ++i) ++drawn[DrawRequest(DefaultMix(), random).entry];
  // Of 4 + 3 + 2 + 1; the standard deviation is below 0.0035.
  EXPECT_NEAR(drawn["5 steps"] / double{kRequests}, 0.4, 0.02);
  EXPECT_NEAR(drawn["10 steps"] / double{kRequests}, 0.3, 0.02);
  EXPECT_NEAR(drawn["20 steps"] / double{kRequests}, 0.2, 0.02);
  EXPECT_NEAR(drawn["50 steps"] / double{kRequests}, 0.1, 0.02);
}

v1::Model ModelWithClasses() {
  v1::Model model;
  model.set_name("models/shapes");
  for (const int label : {3, 7}) model.add_classes()->set_label(label);
  return model;
}

TEST(Mix, AModelWithClassesGetsEachOfThem) {
  Mix mix = DefaultMix();
  mix.resize(1);
  CompleteEntry(ModelWithClasses(), mix[0]);
  SeededRandom random(1);
  std::map<int, int> labels;
  for (int i = 0; i < 100; ++i) {
    const LoadRequest load = DrawRequest(mix, random);
    EXPECT_EQ(load.request.model(), "models/shapes");
    ++labels[load.request.class_label()];
  }
  EXPECT_THAT(labels, ElementsAre(testing::Pair(3, Gt(20)), testing::Pair(7, Gt(20))));
}

TEST(Mix, AClassThatIsGivenStays) {
  Mix mix = ParseMix(R"([{"class_label": 7}])").value();
  CompleteEntry(ModelWithClasses(), mix[0]);
  SeededRandom random(1);
  EXPECT_EQ(DrawRequest(mix, random).request.class_label(), 7);
}

TEST(Mix, OnlyAModelThatTakesPromptsGetsOne) {
  v1::Model model;
  Mix mix = DefaultMix();
  CompleteEntry(model, mix[0]);
  EXPECT_THAT(mix[0].prompts, IsEmpty());
  model.set_takes_prompts(true);
  CompleteEntry(model, mix[0]);
  SeededRandom random(1);
  EXPECT_FALSE(DrawRequest(mix, random).request.prompt().empty());
  Mix given = ParseMix(R"([{"prompts": ["a", "b"]}])").value();
  CompleteEntry(model, given[0]);
  EXPECT_THAT(DrawRequest(given, random).request.prompt(), AnyOf("a", "b"));
}

TEST(ReadPace, PausesForTheBytesAndForEachMessage) {
  EXPECT_FALSE(ReadPace().slow());
  EXPECT_EQ(ReadPace().PauseAfter(1 << 20), absl::ZeroDuration());
  const ReadPace pace{.pause_seconds = 0.5, .bytes_per_second = 1000};
  EXPECT_EQ(pace.PauseAfter(250), absl::Milliseconds(750));
  EXPECT_EQ(pace.PauseAfter(size_t{1} << 40), absl::Minutes(1));
}

}  // namespace
}  // namespace denoise
