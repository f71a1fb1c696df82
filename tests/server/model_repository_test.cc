#include "server/models/model_repository.h"

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/gaussian_network.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

const fs::path kReference = "tests/data/reference/unet";
constexpr char kWeights[] = "unet/diffusion_pytorch_model.safetensors";

class ModelRepositoryTest : public testing::Test {
 protected:
  // A copy of a reference checkpoint, to be broken or not.
  fs::path Add(const std::string& folder, const std::string& reference = "gray-not-square") {
    const fs::path path = root_.path() / folder;
    fs::copy(kReference / reference, path, fs::copy_options::recursive);
    return path;
  }

  ModelRepository Load() {
    auto models = ModelRepository::Load(root_.path(), {});
    EXPECT_TRUE(models.ok()) << models.status();
    return *std::move(models);
  }

  // Adds a good model beside the broken one, and expects it alone to be served.
  std::string ReasonItIsLeftOut() {
    Add("good");
    const ModelRepository models = Load();
    EXPECT_NE(models.Find("good"), nullptr);
    EXPECT_EQ(models.Find("broken"), nullptr);
    EXPECT_EQ(models.size(), 1u);
    if (models.broken().size() != 1) return "nothing was left out";
    EXPECT_EQ(models.broken()[0].folder, "broken");
    const std::string reason(models.broken()[0].status.message());
    EXPECT_THAT(reason, Not(HasSubstr(root_.path().string()))) << "no path leaks";
    return reason;
  }

  TempDir root_;
};

TEST_F(ModelRepositoryTest, LoadsEveryFolder) {
  Add("gray");
  Add("classes", "class-conditional-v");
  Add("old", "root-layout-old-names");
  const ModelRepository models = Load();
  EXPECT_TRUE(models.broken().empty());
  ASSERT_EQ(models.size(), 3u);

  const ModelHandle classes = models.Find("classes");
  ASSERT_NE(classes, nullptr);
  EXPECT_EQ(classes->id, "classes");
  EXPECT_TRUE(classes->is_class_conditional());
  EXPECT_EQ(classes->default_sampler.prediction_type, PredictionType::kVPrediction);
  EXPECT_FALSE(classes->version.empty());
  ASSERT_EQ(classes->networks.size(), 1u);
  EXPECT_EQ(classes->networks[0]->device(), at::Device(at::kCPU));
  EXPECT_EQ(models.Find("gray")->spec.in_channels, 1);
  EXPECT_NE(models.Find("gray")->version, classes->version);
}

TEST_F(ModelRepositoryTest, ListsInOrderFromAnyPlace) {
  for (const char* folder : {"b", "a", "c"}) Add(folder);
  const ModelRepository models = Load();
  const auto ids = [](const std::vector<ModelHandle>& listed) {
    std::vector<std::string> result;
    for (const ModelHandle& model : listed) result.push_back(model->id);
    return result;
  };
  EXPECT_THAT(ids(models.ListAfter("", 2)), ElementsAre("a", "b"));
  EXPECT_THAT(ids(models.ListAfter("b", 2)), ElementsAre("c"));
  EXPECT_THAT(ids(models.ListAfter("aa", 2)), ElementsAre("b", "c"));
}

TEST_F(ModelRepositoryTest, PassesOverHiddenFoldersAndFiles) {
  Add("good");
  Add(".cache");
  WriteFile(root_.path() / "README.md", "# Models");
  const ModelRepository models = Load();
  EXPECT_EQ(models.size(), 1u);
  EXPECT_TRUE(models.broken().empty());
}

TEST_F(ModelRepositoryTest, AModelOutlivesItsRepository) {
  Add("good");
  ModelHandle model;
  { model = Load().Find("good"); }
  EXPECT_TRUE(WarmUp(*model->networks[0]).ok());
}

TEST_F(ModelRepositoryTest, LeavesOutAnEmptyFolder) {
  fs::create_directory(root_.path() / "broken");
  EXPECT_THAT(ReasonItIsLeftOut(), HasSubstr("model_index.json"));
}

TEST_F(ModelRepositoryTest, LeavesOutBrokenJson) {
  WriteFile(Add("broken") / "unet/config.json", "{\"in_channels\": ");
  EXPECT_THAT(ReasonItIsLeftOut(), HasSubstr("unet/config.json"));
}

TEST_F(ModelRepositoryTest, LeavesOutAnotherSchedulerThanItsIndexNames) {
  WriteFile(Add("broken") / "scheduler/scheduler_config.json",
            R"({"_class_name": "MysteryScheduler"})");
  EXPECT_THAT(ReasonItIsLeftOut(), HasSubstr("scheduler/scheduler_config.json"));
}

TEST_F(ModelRepositoryTest, LeavesOutTruncatedWeights) {
  const fs::path weights = Add("broken") / kWeights;
  fs::resize_file(weights, fs::file_size(weights) - 100);
  EXPECT_THAT(ReasonItIsLeftOut(), HasSubstr("safetensors"));
}

TEST_F(ModelRepositoryTest, LeavesOutWeightsOfAnotherShape) {
  fs::copy_file(kReference / "class-conditional-v" / kWeights, Add("broken") / kWeights,
                fs::copy_options::overwrite_existing);
  EXPECT_NE(ReasonItIsLeftOut(), "nothing was left out");
}

TEST_F(ModelRepositoryTest, LeavesOutMissingWeights) {
  fs::remove(Add("broken") / kWeights);
  EXPECT_NE(ReasonItIsLeftOut(), "nothing was left out");
}

TEST_F(ModelRepositoryTest, LeavesOutAVarianceThatTheNetworkDoesNotPredict) {
  const fs::path scheduler = Add("broken") / "scheduler/scheduler_config.json";
  WriteFile(scheduler, R"({"_class_name": "DDPMScheduler", "variance_type": "learned_range"})");
  EXPECT_THAT(ReasonItIsLeftOut(), HasSubstr("variance"));
}

TEST_F(ModelRepositoryTest, LeavesOutAFolderWhoseNameIsNoModelName) {
  Add("good");
  Add("not a name");
  const ModelRepository models = Load();
  EXPECT_EQ(models.size(), 1u);
  ASSERT_EQ(models.broken().size(), 1u);
  EXPECT_EQ(models.broken()[0].folder, "not a name");
}

TEST_F(ModelRepositoryTest, AnAbsentRootIsAnError) {
  EXPECT_EQ(ModelRepository::Load(root_.path() / "absent", {}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(ModelNames, AreLettersDigitsAndAFewSigns) {
  for (const char* id : {"a", "emoji-32", "v1.5_final", "0"}) {
    EXPECT_TRUE(IsValidModelId(id)) << id;
    EXPECT_EQ(ParseModelName(ModelName(id)), id);
  }
  for (const char* id : {"", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "../a", "\u00e9"}) {
    EXPECT_FALSE(IsValidModelId(id)) << id;
    EXPECT_EQ(ParseModelName(ModelName(id)), std::nullopt);
  }
  EXPECT_EQ(ParseModelName("emoji"), std::nullopt);
}

// A network whose answer is whatever a test wants.
class AnsweringNetwork : public GaussianNetwork {
 public:
  explicit AnsweringNetwork(at::Tensor answer)
      : GaussianNetwork(*Schedule::Create({}), {}, 3, 8, 8), answer_(std::move(answer)) {}
  at::Tensor Forward(const NetworkInput&) const override { return answer_; }

 private:
  const at::Tensor answer_;
};

TEST(WarmUp, RefusesAnswersThatAreNotFinite) {
  EXPECT_TRUE(WarmUp(AnsweringNetwork(at::full({1, 3, 8, 8}, 0.5))).ok());
  for (double value :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(WarmUp(AnsweringNetwork(at::full({1, 3, 8, 8}, value))).code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(WarmUp, RefusesAnswersOfAnotherShape) {
  EXPECT_EQ(WarmUp(AnsweringNetwork(at::full({1, 6, 8, 8}, 0.5))).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(WarmUp, CatchesWhatTheNetworkThrows) {
  const GaussianNetwork network(*Schedule::Create({}), {}, 3, 8, 8,
                                [](const NetworkInput&) { throw std::runtime_error("on fire"); });
  EXPECT_THAT(std::string(WarmUp(network).message()), HasSubstr("on fire"));
}

}  // namespace
}  // namespace denoise
