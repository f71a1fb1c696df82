#include "server/cost_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>
#include <string>

#include "core/base/read_file.h"
#include "tests/server/test_models.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using testing::HasSubstr;

class CostKeeperTest : public testing::Test {
 protected:
  std::shared_ptr<const PipelineReplicas> Pipelines() const { return {model_, &model_->pipelines}; }
  void Write(const std::string& text) const { std::ofstream(file_) << text; }

  TempDir folder_;
  const std::filesystem::path file_ = folder_.path() / "costs.json";
  const LoadedModelHandle model_ = UnconditionalModel();
};

TEST_F(CostKeeperTest, WhatOneServerHasMeasuredTheNextOneKnows) {
  {
    Engine engine({.max_batch_rows = 4}, Clock::Real(), nullptr);
    CostKeeper costs(file_, "cpu", &engine);
    ASSERT_TRUE(costs.Load().ok()) << "there is no file yet";
    costs.OnServe(model_);
    while (engine.EvaluationTimes(Pipelines()).empty()) absl::SleepFor(absl::Milliseconds(1));
    ASSERT_TRUE(costs.Save().ok());
  }
  Engine engine({}, Clock::Real(), nullptr);
  CostKeeper costs(file_, "cpu", &engine);
  ASSERT_TRUE(costs.Load().ok());
  costs.OnServe(model_);
  EXPECT_FALSE(engine.EvaluationTimes(Pipelines()).empty()) << "before anything is measured";
}

TEST_F(CostKeeperTest, CostsOfAnotherDeviceAreKeptAndNotUsed) {
  Engine engine({}, Clock::Real(), nullptr);
  engine.SetEvaluationTimes(Pipelines(), {{.rows = 2, .time = absl::Seconds(1)}});
  Write(R"({"format": "denoised costs 1", "models": {"cuda, v7": [[1, 0.5]]}})");
  CostKeeper costs(file_, "cpu", &engine);
  ASSERT_TRUE(costs.Load().ok());
  costs.OnServe(model_);
  ASSERT_TRUE(costs.Save().ok());
  std::ifstream file(file_);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  EXPECT_THAT(text, HasSubstr("cuda, v7"));
  EXPECT_THAT(text, HasSubstr("cpu, " + model_->model->version));
}

TEST_F(CostKeeperTest, RefusesWhatIsNoSuchFile) {
  Engine engine({}, Clock::Real(), nullptr);
  for (const char* text : {"", "x", "[]", "{}", R"({"format": "denoised costs 2", "models": {}})",
                           R"({"format": "denoised costs 1", "models": 7})",
                           R"({"format": "denoised costs 1", "models": {"a": {}}})",
                           R"({"format": "denoised costs 1", "models": {"a": [[1]]}})",
                           R"({"format": "denoised costs 1", "models": {"a": [[0, 1]]}})",
                           R"({"format": "denoised costs 1", "models": {"a": [[1, -1]]}})",
                           R"({"format": "denoised costs 1", "models": {"a": [[1.5, 1]]}})",
                           R"({"format": "denoised costs 1", "models": {"a": [[1, 1e300]]}})",
                           R"({"format": "denoised costs 1", "models": {"a": [["1", 1]]}})"}) {
    Write(text);
    EXPECT_TRUE(absl::IsInvalidArgument(CostKeeper(file_, "cpu", &engine).Load())) << text;
  }
}

// What somebody has named by mistake.
TEST_F(CostKeeperTest, LeavesFilesOfOthersAlone) {
  Engine engine({}, Clock::Real(), nullptr);
  Write("my notes");
  CostKeeper notes(file_, "cpu", &engine);
  EXPECT_FALSE(notes.Load().ok());
  EXPECT_TRUE(notes.Save().ok());
  EXPECT_EQ(*ReadFile(file_.string(), 100), "my notes");
  std::filesystem::remove(file_);
  ASSERT_EQ(mkfifo(file_.c_str(), 0600), 0);
  CostKeeper pipe(file_, "cpu", &engine);
  EXPECT_FALSE(pipe.Load().ok()) << "nor does it wait for anybody to write";
  EXPECT_TRUE(pipe.Save().ok());
  EXPECT_TRUE(std::filesystem::is_fifo(file_));
}

TEST_F(CostKeeperTest, LeavesTheEngineAloneOnceStopped) {
  CostKeeper costs(file_, "cpu", nullptr);
  costs.Stop();
  costs.OnServe(model_);
  EXPECT_TRUE(costs.Save().ok());
  EXPECT_FALSE(std::filesystem::exists(file_));
}

}  // namespace
}  // namespace denoise
