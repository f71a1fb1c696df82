// Models whose weights do not fit into what the device has left.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/synchronization/notification.h"
#include "core/base/error_details.h"
#include "server/models/live_models.h"
#include "tests/core/device/capturing_runtime.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr char kModel[] = "tests/data/reference/unet/gray-not-square";
constexpr char kWeights[] = "unet/diffusion_pytorch_model.safetensors";

// Has memory for the weights of `models` such models. What is reserved counts as used, but for the
// model that is about to be loaded.
class SmallDevice final : public CapturingRuntime {
 public:
  std::optional<DeviceMemory> Memory() const override {
    const int64_t total = models * model_bytes;
    return DeviceMemory{.free_bytes = std::max<int64_t>(total + model_bytes - reserved_bytes, 0),
                        .total_bytes = total};
  }

  static inline std::atomic<int64_t> models = 1, model_bytes = 0, reserved_bytes = 0;
};

class ModelShortageTest : public testing::Test {
 protected:
  ModelShortageTest() {
    RegisterDeviceRuntime(at::kCPU, [](at::Device) -> std::shared_ptr<DeviceRuntime> {
      return std::make_shared<SmallDevice>();
    });
    SmallDevice::model_bytes =
        MemoryBytes(ParsedPipeline::OpenConfigs(kModel)->description(), "a", {});
    SmallDevice::models = 1;
    for (const char* name : {"a", "b"}) {
      fs::copy(kModel, root_.path() / name, fs::copy_options::recursive);
    }
    live_.emplace(
        ModelsFolder(root_.path()),
        LiveModels::Options{.on_unload = [this] { ++unloads_; },
                            .on_memory = [](int64_t b) { SmallDevice::reserved_bytes = b; }},
        &models_, &clock_);
    EXPECT_EQ(live_->Start(), absl::OkStatus());
  }

  // As a request does.
  absl::StatusOr<LoadedModelHandle> Get(const std::string& id) {
    absl::Notification woken;
    const auto wait = models_.Acquire(id, [&] { woken.Notify(); });
    if (!wait.ok()) return wait.status();
    if (!(*wait)->result()) woken.WaitForNotification();
    return *(*wait)->result();
  }

  // Puts other weights in the place of a model's, and lets the server see them.
  void ReplaceFiles(const std::string& id) {
    const fs::path weights = root_.path() / id / kWeights;
    fs::permissions(weights, fs::perms::owner_write, fs::perm_options::add);
    std::string bytes = ReadFile(weights);
    bytes.back() ^= 1;
    WriteFile(weights, bytes);
    EXPECT_EQ(live_->Look(/*at_once=*/true), absl::OkStatus());
  }

  LoadState StateOf(const std::string& id) const { return models_.Status(id)->state; }

  TempDir root_;
  FakeClock clock_;
  std::atomic<int> unloads_ = 0;
  ModelRepository models_;
  std::optional<LiveModels> live_;
};

TEST_F(ModelShortageTest, WhatDoesNotFitIsLoadedOnceIdleModelsHaveGivenWay) {
  EXPECT_EQ(StateOf("a"), LoadState::kLoaded);
  EXPECT_EQ(StateOf("b"), LoadState::kUnloaded);
  EXPECT_TRUE(Get("b").ok());
  EXPECT_EQ(StateOf("a"), LoadState::kUnloaded);
  EXPECT_EQ(unloads_, 1);
}

TEST_F(ModelShortageTest, RequestsAreToldWhatAModelTakesThatDoesNotFit) {
  const auto running = Get("a");
  ASSERT_TRUE(running.ok());
  for (const absl::Status& status : {Get("b").status(), live_->Load("b")}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(GetErrorReason(status), "OUT_OF_MEMORY");
    EXPECT_THAT(std::string(status.message()), HasSubstr("does not fit on cpu: its weights take "));
    EXPECT_THAT(std::string(status.message()), HasSubstr("and 0 of "));
  }
  EXPECT_EQ(StateOf("a"), LoadState::kLoaded);
  EXPECT_EQ(StateOf("b"), LoadState::kUnloaded);
}

TEST_F(ModelShortageTest, IdleModelsGiveWayToANewVersionOfALoadedModel) {
  SmallDevice::models = 2;
  ASSERT_TRUE(Get("b").ok());
  ASSERT_TRUE(Get("a").ok());
  const std::string old_version = models_.Status("a")->model->version;
  ReplaceFiles("a");
  EXPECT_EQ(StateOf("a"), LoadState::kLoaded);
  EXPECT_NE(models_.Status("a")->model->version, old_version);
  EXPECT_EQ(StateOf("b"), LoadState::kUnloaded);
}

TEST_F(ModelShortageTest, AnOldVersionGivesWayWhereNothingElseCan) {
  auto running = Get("a");
  ASSERT_TRUE(running.ok());
  ReplaceFiles("a");
  EXPECT_EQ(StateOf("a"), LoadState::kUnloaded);
  EXPECT_NE(models_.Status("a")->model->version, (*running)->model->version);
  EXPECT_EQ(GetErrorReason(Get("a").status()), "OUT_OF_MEMORY") << "a request has the old one";
  running = absl::UnknownError("done");
  EXPECT_TRUE(Get("a").ok());
}

}  // namespace
}  // namespace denoise
