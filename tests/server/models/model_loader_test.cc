#include "server/models/model_loader.h"

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <filesystem>
#include <limits>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>

#include "tests/support/gaussian_network.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

TEST(ModelNames, AreLettersDigitsAndAFewSigns) {
  for (const char* id : {"a", "emoji-32", "v1.5_final", "0"}) {
    EXPECT_EQ(ParseModelName(ModelName(id)), id);
  }
  for (const char* id : {"", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "../a", "\u00e9"}) {
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

// The case is M1 and M2.
TEST(LoadModel, NamesTheKeysThatItIgnoresInOneLineOfTheLog) {
  const TempDir folder;
  const fs::path model = folder.path() / "model";
  fs::copy("tests/data/reference/unet/gray-not-square", model, fs::copy_options::recursive);
  std::string config = ReadFile(model / "unet/config.json");
  config.insert(config.find('{') + 1, R"("decay": 0.9999, "use_ema_warmup": true,)");
  fs::permissions(model / "unet/config.json", fs::perms::owner_write, fs::perm_options::add);
  WriteFile(model / "unet/config.json", config);

  std::ostringstream log;
  const std::shared_ptr<spdlog::logger> before = spdlog::default_logger();
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
  const auto loaded = LoadModel(model, "ema", {});
  spdlog::set_default_logger(before);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(log.str(), HasSubstr("model=ema"));
  EXPECT_THAT(log.str(), HasSubstr("unet/config.json: decay, use_ema_warmup"));
}

TEST(WarmUp, CatchesWhatTheNetworkThrows) {
  const GaussianNetwork network(*Schedule::Create({}), {}, 3, 8, 8,
                                [](const NetworkInput&) { throw std::runtime_error("on fire"); });
  EXPECT_THAT(std::string(WarmUp(network).message()), HasSubstr("on fire"));
}

}  // namespace
}  // namespace denoise
