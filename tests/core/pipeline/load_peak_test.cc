// How much memory loading takes: little more than the weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "tests/support/subprocess.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

// Tables, buffers and what the parts compute with when they are tried.
constexpr int64_t kAllowedBytes = 32 << 20;

std::string RunPeak(const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {LOAD_PEAK_BINARY};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  const auto result = RunProcess(argv, absl::Minutes(4));
  EXPECT_TRUE(result.ok()) << result.status();
  if (!result.ok()) return "";
  EXPECT_EQ(result->exit_status, kExitedCleanly) << result->error;
  return result->output;
}

class LoadingTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempDir();
    RunPeak({"make", Model()});
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string Model() { return folder_->path() / "model"; }

 private:
  static inline TempDir* folder_ = nullptr;
};

TEST_F(LoadingTest, TakesLittleMoreMemoryThanTheWeights) {
  for (const char* dtype : {"float32", "bfloat16"}) {
    SCOPED_TRACE(dtype);
    int64_t peak = 0, left = 0, weights = 0;
    std::istringstream(RunPeak({"load", Model(), dtype})) >> peak >> left >> weights;
    EXPECT_GT(weights, 200 << 20);
    EXPECT_GE(peak, left);
    EXPECT_LE(peak, weights + weights / 10 + kAllowedBytes) << "weights " << weights;
    EXPECT_LE(left, weights + weights / 20 + kAllowedBytes) << "weights " << weights;
  }
}

TEST_F(LoadingTest, WithoutEnoughMemoryIsAnErrorThatTheProcessSurvives) {
  EXPECT_THAT(RunPeak({"limited", Model()}),
              testing::StartsWith("RESOURCE_EXHAUSTED: the device is out of memory"));
}

}  // namespace
}  // namespace denoise
