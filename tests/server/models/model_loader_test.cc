#include "server/models/model_loader.h"

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <filesystem>
#include <iterator>
#include <limits>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "core/base/error_details.h"
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

TEST(ModelLoadOptions, ADtypeIsThatOfAVersionOrOfAllOfThem) {
  const ModelLoadOptions options{.dtype = at::kBFloat16,
                                 .model_dtypes = {{"sdxl", at::kHalf}, {"sdxl@2", at::kFloat}}};
  EXPECT_EQ(options.DtypeOf("emoji"), at::kBFloat16);
  EXPECT_EQ(options.DtypeOf("sdxl"), at::kHalf);
  EXPECT_EQ(options.DtypeOf("sdxl@1"), at::kHalf);
  EXPECT_EQ(options.DtypeOf("sdxl@2"), at::kFloat);
}

TEST(MemoryBytes, CountsEveryPartAsItIsHeld) {
  const auto parsed = ParsedPipeline::OpenConfigs("tests/data/pipelines/sdxl-like");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const PipelineDescription& model = parsed->description();
  int64_t codec = 0, texts = 0;
  for (const PartDescription& part : model.parts) {
    if (part.encodes_text) texts += part.num_parameters;
    if (part.name == "vae") codec += part.num_parameters;
    EXPECT_EQ(part.overflows_in_half, part.name == "vae");  // force_upcast
  }
  const auto bytes = [&](at::ScalarType dtype, at::DeviceType device, bool texts_on_cpu) {
    return MemoryBytes(model, "sdxl",
                       {.devices = {at::Device(device)},
                        .dtype = dtype,
                        .pipeline = {.text_encoders_on_cpu = texts_on_cpu}});
  };
  EXPECT_EQ(bytes(at::kFloat, at::kCPU, false), 4 * model.num_parameters);
  EXPECT_EQ(bytes(at::kBFloat16, at::kCPU, false), 2 * model.num_parameters);
  EXPECT_EQ(bytes(at::kFloat, at::kCPU, true), 4 * model.num_parameters);
  EXPECT_EQ(bytes(at::kHalf, at::kCUDA, false), 2 * model.num_parameters + 2 * codec);
  EXPECT_EQ(bytes(at::kHalf, at::kCUDA, true), 2 * (model.num_parameters - texts) + 2 * codec);
}

TEST(LoadModel, ComputesInTheDtypeOfTheModel) {
  const ModelLoadOptions options{.model_dtypes = {{"small", at::kBFloat16}}};
  const auto small = LoadModel("tests/data/pipelines/sd15-like", "small@3", options);
  ASSERT_TRUE(small.ok()) << small.status();
  EXPECT_EQ((*small)->pipelines.front()->network->dtype(), at::kBFloat16);
  EXPECT_EQ((*small)->pipelines.front()->codec->dtype(), at::kBFloat16);
  const auto other = LoadModel("tests/data/pipelines/sd15-like", "other", options);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ((*other)->pipelines.front()->network->dtype(), at::kFloat);
  EXPECT_EQ((*other)->model->memory_bytes, 2 * (*small)->model->memory_bytes);
}

TEST(LoadModel, SaysWhatAModelTakesThatDoesNotFit) {
  const auto parsed = ParsedPipeline::Open("tests/data/pipelines/sd15-like");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  Model model = **DescribeModel(*parsed, "large", {});
  model.memory_bytes = int64_t{1} << 50;
  const absl::Status status = LoadModel(*parsed, std::make_shared<const Model>(model), {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetErrorReason(status), "EXCEEDS_DEVICE");
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("its weights take 1073741824 MiB, but cpu has "));
}

TEST(WarmUp, CatchesWhatTheNetworkThrows) {
  const GaussianNetwork network(*Schedule::Create({}), {}, 3, 8, 8,
                                [](const NetworkInput&) { throw std::runtime_error("on fire"); });
  EXPECT_THAT(std::string(WarmUp(network).message()), HasSubstr("on fire"));
}

// How many threads the process has.
int64_t CountThreads() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
}

// As long as there are more of them than cores, none spins, and evaluations take half as long again.
TEST(ModelLoader, LeavesNoThreadsOfOpenMpBehind) {
  int64_t before = 0, after = 0;
  std::thread([&] {  // which has run no parallel code yet
    before = CountThreads();
    EXPECT_TRUE(LoadModel("deploy/models/emoji-32", "emoji-32", ModelLoadOptions()).ok());
    after = CountThreads();
  })
      .join();
  EXPECT_EQ(after, before);
}

}  // namespace
}  // namespace denoise
