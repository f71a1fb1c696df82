#include "server/models/live_models.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

const fs::path kReference = "tests/data/reference/unet";
constexpr char kGray[] = "gray-not-square";        // 1 channel
constexpr char kColour[] = "class-conditional-v";  // 3
constexpr char kWeights[] = "unet/diffusion_pytorch_model.safetensors";

class LiveModelsTest : public testing::Test {
 protected:
  fs::path Add(const std::string& folder, const std::string& reference = kGray) {
    const fs::path path = root_.path() / folder;
    fs::copy(kReference / reference, path, fs::copy_options::recursive);
    for (const auto& entry : fs::recursive_directory_iterator(path)) {
      fs::permissions(entry.path(), fs::perms::owner_write, fs::perm_options::add);
    }
    return path;
  }

  void Start(int64_t memory_bytes_max = 0) {
    live_.emplace(ModelsFolder(root_.path()),
                  LiveModels::Options{.load = {},
                                      .memory_bytes_max = memory_bytes_max,
                                      .look_interval = absl::ZeroDuration(),
                                      .on_load = [this](bool ok) { ++(ok ? loads_ : failures_); },
                                      .on_unload = [this] { ++unloads_; }},
                  &models_, &clock_);
    ASSERT_EQ(live_->Start(), absl::OkStatus());
  }

  // What is found at the second look has been at rest since the first.
  void LookTwice() {
    EXPECT_EQ(live_->Look(), absl::OkStatus());
    EXPECT_EQ(live_->Look(), absl::OkStatus());
  }

  std::vector<std::string> Served() const {
    std::vector<std::string> ids;
    for (const ModelStatus& status : models_.ListAfter("", 100, false)) ids.push_back(status.id);
    return ids;
  }
  LoadState StateOf(const std::string& id) const { return models_.Status(id)->state; }
  int64_t ChannelsOf(const std::string& id) const { return (*models_.Find(id))->spec.in_channels; }
  int64_t BytesOf(const std::string& id) const { return (*models_.Find(id))->memory_bytes; }

  // As a request does: the model, loaded.
  ModelHandle Want(const std::string& id) {
    absl::Notification woken;
    const auto wait = models_.WaitFor(id, [&] { woken.Notify(); });
    EXPECT_TRUE(wait.ok()) << wait.status();
    woken.WaitForNotification();
    EXPECT_TRUE((*wait)->result()->ok()) << (*wait)->result()->status();
    return **(*wait)->result();
  }

  TempDir root_;
  FakeClock clock_;
  std::atomic<int> loads_ = 0, failures_ = 0, unloads_ = 0;
  ModelRepository models_;
  std::optional<LiveModels> live_;
};

TEST_F(LiveModelsTest, ServesWhatTheFolderHoldsAtTheStart) {
  Add("b");
  Add("a@2", kColour);
  fs::create_directory(root_.path() / "no-model");
  Start();
  EXPECT_THAT(Served(), ElementsAre("a@2", "b"));
  EXPECT_EQ(ChannelsOf("a"), 3);
  EXPECT_EQ(StateOf("no-model"), LoadState::kFailed);
  EXPECT_GT(models_.counts().loaded_bytes, 0);
  EXPECT_EQ(loads_, 2);
  EXPECT_EQ(failures_, 1);
}

TEST_F(LiveModelsTest, AModelThatIsCopiedThereIsServedOnceItsFilesAreAtRest) {
  Start();
  const fs::path model = Add("a");
  const std::string weights = ReadFile(model / kWeights);
  fs::resize_file(model / kWeights, 1000);  // half copied
  EXPECT_EQ(live_->Look(), absl::OkStatus());
  EXPECT_THAT(Served(), IsEmpty());
  WriteFile(model / kWeights, weights);
  EXPECT_EQ(live_->Look(), absl::OkStatus());
  EXPECT_THAT(Served(), IsEmpty()) << "they have just changed";
  EXPECT_EQ(failures_, 0);
  EXPECT_EQ(live_->Look(), absl::OkStatus());
  EXPECT_THAT(Served(), ElementsAre("a"));
}

TEST_F(LiveModelsTest, AnIncompleteCopyThatRestsIsReportedAndTriedAgain) {
  Start();
  const fs::path model = Add("a");
  const std::string weights = ReadFile(model / kWeights);
  fs::resize_file(model / kWeights, 1000);
  LookTwice();
  EXPECT_EQ(StateOf("a"), LoadState::kFailed);
  LookTwice();
  EXPECT_EQ(failures_, 1) << "files that have not changed are not tried again";
  WriteFile(model / kWeights, weights);
  LookTwice();
  EXPECT_EQ(StateOf("a"), LoadState::kLoaded);
  EXPECT_EQ(models_.counts().failed, 0);
}

TEST_F(LiveModelsTest, ANewVersionTakesOverAndABrokenOneDoesNot) {
  Add("a", kGray);
  Start();
  const ModelHandle held = *models_.Find("a");
  fs::remove_all(root_.path() / "a");
  Add("a", kColour);
  LookTwice();
  EXPECT_EQ(ChannelsOf("a"), 3);
  EXPECT_EQ(held->spec.in_channels, 1);
  EXPECT_TRUE(WarmUp(*held->networks[0]).ok());

  WriteFile(root_.path() / "a" / "unet/config.json", "{");
  LookTwice();
  EXPECT_EQ(ChannelsOf("a"), 3);
  EXPECT_THAT(std::string(models_.Status("a")->error.message()), HasSubstr("unet/config.json"));
}

TEST_F(LiveModelsTest, FilesThatSayTheSameAreNotLoadedAgain) {
  const fs::path model = Add("a");
  Start();
  const ModelHandle before = *models_.Find("a");
  WriteFile(model / "unet/config.json", ReadFile(model / "unet/config.json"));
  LookTwice();
  EXPECT_EQ(*models_.Find("a"), before);
  EXPECT_EQ(loads_, 1);
}

TEST_F(LiveModelsTest, AModelIsGoneAfterTwoLooksWithoutIt) {
  Add("a");
  Start();
  const ModelHandle held = *models_.Find("a");
  fs::rename(root_.path() / "a", root_.path() / ".a");
  EXPECT_EQ(live_->Look(), absl::OkStatus());
  EXPECT_THAT(Served(), ElementsAre("a")) << "it may be about to be replaced";
  EXPECT_EQ(live_->Look(), absl::OkStatus());
  EXPECT_THAT(Served(), IsEmpty());
  EXPECT_TRUE(WarmUp(*held->networks[0]).ok());
}

TEST_F(LiveModelsTest, AFolderThatCannotBeReadTakesNothingAway) {
  Add("a");
  Start();
  const TempDir elsewhere;
  fs::rename(root_.path(), elsewhere.path() / "models");
  EXPECT_FALSE(live_->Look().ok());
  EXPECT_FALSE(live_->Look().ok());
  EXPECT_THAT(Served(), ElementsAre("a"));
  fs::rename(elsewhere.path() / "models", root_.path());
  EXPECT_EQ(live_->Look(), absl::OkStatus());
  EXPECT_THAT(Served(), ElementsAre("a"));
  EXPECT_EQ(loads_, 1);
}

TEST_F(LiveModelsTest, LooksByItself) {
  live_.emplace(ModelsFolder(root_.path()),
                LiveModels::Options{.load = {}, .look_interval = absl::Seconds(2)}, &models_,
                &clock_);
  ASSERT_EQ(live_->Start(), absl::OkStatus());
  absl::Notification served;
  const auto watcher = models_.Watch([&] {
    if (!served.HasBeenNotified()) served.Notify();
  });
  Add("a");
  auto found = std::async(std::launch::async, [&] { served.WaitForNotification(); });
  clock_.AdvanceUntilReady(found, absl::Seconds(1));
  EXPECT_THAT(Served(), ElementsAre("a"));
}

TEST_F(LiveModelsTest, TheLeastRecentlyUsedGivesWayWithinTheLimit) {
  for (const char* id : {"a", "b", "c"}) Add(id);
  Start();
  const int64_t bytes = BytesOf("a");
  live_.reset();

  ModelRepository models;
  live_.emplace(ModelsFolder(root_.path()),
                LiveModels::Options{.load = {}, .memory_bytes_max = 2 * bytes}, &models, &clock_);
  ASSERT_EQ(live_->Start(), absl::OkStatus());
  const auto state = [&](const char* id) { return models.Status(id)->state; };
  EXPECT_EQ(state("a"), LoadState::kLoaded);
  EXPECT_EQ(state("b"), LoadState::kLoaded);
  EXPECT_EQ(state("c"), LoadState::kUnloaded);
  EXPECT_EQ((*models.Find("c"))->spec.in_channels, 1) << "what it is is known all the same";

  EXPECT_TRUE(models.Find("a").ok());
  ASSERT_TRUE(live_->Load("c").ok());
  EXPECT_EQ(state("a"), LoadState::kLoaded);
  EXPECT_EQ(state("b"), LoadState::kUnloaded);
  EXPECT_EQ(state("c"), LoadState::kLoaded);
  live_.reset();
}

TEST_F(LiveModelsTest, ARequestBringsItsModelBack) {
  Add("a");
  Add("b");
  Start();
  const int64_t bytes = BytesOf("a");
  live_.reset();

  ModelRepository models;
  live_.emplace(ModelsFolder(root_.path()),
                LiveModels::Options{.load = {}, .memory_bytes_max = bytes}, &models, &clock_);
  ASSERT_EQ(live_->Start(), absl::OkStatus());
  ModelHandle running = *models.Find("a");
  absl::Notification woken;
  const auto wait = *models.WaitFor("b", [&] { woken.Notify(); });
  EXPECT_FALSE(woken.WaitForNotificationWithTimeout(absl::Milliseconds(50)))
      << "a request still holds the memory";
  EXPECT_EQ(running->networks.size(), 1u);
  running.reset();
  woken.WaitForNotification();
  EXPECT_TRUE((**wait->result())->is_loaded());
  EXPECT_EQ(models.Status("a")->state, LoadState::kUnloaded);
  live_.reset();
}

TEST_F(LiveModelsTest, AModelThatCannotFitIsRefused) {
  Add("a");
  Start(/*memory_bytes_max=*/1);
  EXPECT_EQ(StateOf("a"), LoadState::kFailed);
  EXPECT_THAT(std::string(models_.Status("a")->error.message()), HasSubstr("--model-memory"));
}

TEST_F(LiveModelsTest, LoadsAndUnloadsOnRequest) {
  Add("a@1");
  Start();
  EXPECT_EQ(live_->Unload("a")->state, LoadState::kUnloaded);
  EXPECT_EQ(StateOf("a@1"), LoadState::kUnloaded);
  EXPECT_TRUE(Want("a")->is_loaded());
  EXPECT_EQ(loads_, 2);
  EXPECT_EQ((*live_->Load("a"))->id, "a@1");
  EXPECT_EQ(loads_, 2) << "it is loaded already";

  Add("new", kColour);  // not looked at yet
  EXPECT_EQ((*live_->Load("new"))->spec.in_channels, 3);
  fs::remove(Add("broken") / kWeights);
  EXPECT_TRUE(absl::IsFailedPrecondition(live_->Load("broken").status()));
  EXPECT_TRUE(absl::IsNotFound(live_->Load("absent").status()));
  EXPECT_TRUE(absl::IsNotFound(live_->Load("../a").status()));
  EXPECT_TRUE(absl::IsNotFound(live_->Unload("absent").status()));
}

TEST_F(LiveModelsTest, ADeletedModelIsServedNoMoreAndItsHoldersFinish) {
  Add("a");
  Add("b");
  Start();
  const ModelHandle held = *models_.Find("a");
  EXPECT_EQ(live_->Delete("a"), absl::OkStatus());
  EXPECT_THAT(Served(), ElementsAre("b"));
  EXPECT_FALSE(fs::exists(root_.path() / "a"));
  EXPECT_TRUE(WarmUp(*held->networks[0]).ok());
  EXPECT_TRUE(absl::IsNotFound(live_->Delete("a")));
  LookTwice();
  EXPECT_THAT(Served(), ElementsAre("b"));
}

TEST_F(LiveModelsTest, WhatIsInstalledIsServedAtOnceAndOnce) {
  Start();
  const auto copy = [](const fs::path& folder) {
    fs::copy(kReference / kColour, folder, fs::copy_options::recursive);
    return absl::OkStatus();
  };
  const auto installed = live_->Install("a", copy);
  ASSERT_TRUE(installed.ok()) << installed.status();
  EXPECT_EQ(*models_.Find("a"), *installed);
  LookTwice();
  EXPECT_EQ(*models_.Find("a"), *installed);
  EXPECT_EQ(loads_, 1);
  EXPECT_FALSE(
      live_
          ->Install(
              "b", [](const fs::path&) { return absl::ResourceExhaustedError("the disk is full"); })
          .ok());
  EXPECT_THAT(Served(), ElementsAre("a"));
}

TEST_F(LiveModelsTest, StopEndsAWaitForMemory) {
  Add("a");
  Add("b");
  Start();
  const int64_t bytes = BytesOf("a");
  live_.reset();
  ModelRepository models;
  live_.emplace(ModelsFolder(root_.path()),
                LiveModels::Options{.load = {}, .memory_bytes_max = bytes}, &models, &clock_);
  ASSERT_EQ(live_->Start(), absl::OkStatus());
  const ModelHandle running = *models.Find("a");
  absl::Notification woken;
  const auto wait = *models.WaitFor("b", [&] { woken.Notify(); });
  live_->Stop();
  woken.WaitForNotification();
  EXPECT_TRUE(absl::IsUnavailable(wait->result()->status()));
  live_.reset();
}

}  // namespace
}  // namespace denoise
