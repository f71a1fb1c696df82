#include "server/models/live_models.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "core/base/file_descriptor.h"
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
    live_.emplace(
        ModelsFolder(root_.path()),
        LiveModels::Options{.load = {},
                            .memory_bytes_max = memory_bytes_max,
                            .look_interval = absl::ZeroDuration(),
                            .on_load = [this](auto duration) { ++(duration ? loads_ : failures_); },
                            .on_unload = [this] { ++unloads_; },
                            .on_memory = [this](int64_t bytes) { memory_bytes_ = bytes; }},
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
  int64_t ChannelsOf(const std::string& id) const {
    return (*models_.Find(id))->spec.sample.channels;
  }
  int64_t BytesOf(const std::string& id) const { return (*models_.Find(id))->memory_bytes; }

  // As a request does.
  LoadedModelHandle Get(const std::string& id) {
    absl::Notification woken;
    const auto wait = models_.Acquire(id, [&] { woken.Notify(); });
    EXPECT_TRUE(wait.ok()) << wait.status();
    if (!(*wait)->result()) woken.WaitForNotification();
    EXPECT_TRUE((*wait)->result()->ok()) << (*wait)->result()->status();
    return **(*wait)->result();
  }

  TempDir root_;
  FakeClock clock_;
  std::atomic<int> loads_ = 0, failures_ = 0, unloads_ = 0;
  std::atomic<int64_t> memory_bytes_ = 0;
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
  const LoadedModelHandle held = Get("a");
  fs::remove_all(root_.path() / "a");
  Add("a", kColour);
  LookTwice();
  EXPECT_EQ(ChannelsOf("a"), 3);
  EXPECT_EQ(held->model->spec.sample.channels, 1);
  EXPECT_TRUE(WarmUp(*held->pipelines[0]->network).ok());

  WriteFile(root_.path() / "a" / "unet/config.json", "{");
  LookTwice();
  EXPECT_EQ(ChannelsOf("a"), 3);
  EXPECT_THAT(std::string(models_.Status("a")->error.message()), HasSubstr("unet/config.json"));
}

TEST_F(LiveModelsTest, FilesThatSayTheSameAreNotLoadedAgain) {
  const fs::path model = Add("a");
  Start();
  const LoadedModelHandle before = Get("a");
  WriteFile(model / "unet/config.json", ReadFile(model / "unet/config.json"));
  LookTwice();
  EXPECT_EQ(Get("a"), before);
  EXPECT_EQ(loads_, 1);
}

TEST_F(LiveModelsTest, OtherFilesInAModelsFolderDoNotCount) {
  Start();
  const fs::path model = Add("a");
  EXPECT_EQ(live_->Look(), absl::OkStatus());
  WriteFile(model / "train.log", "step 1");
  EXPECT_EQ(live_->Look(), absl::OkStatus());
  EXPECT_THAT(Served(), ElementsAre("a"));
}

TEST_F(LiveModelsTest, WhatIsNoModelYetIsNotReportedWhileItsFilesArrive) {
  Start();
  const fs::path model = Add("a");
  fs::rename(model / "model_index.json", root_.path() / ".index");
  EXPECT_EQ(live_->Look(), absl::OkStatus());
  WriteFile(model / kWeights, ReadFile(model / kWeights));
  EXPECT_EQ(live_->Look(), absl::OkStatus());
  EXPECT_EQ(failures_, 0);
  fs::rename(root_.path() / ".index", model / "model_index.json");
  LookTwice();
  EXPECT_THAT(Served(), ElementsAre("a"));
  EXPECT_EQ(failures_, 0);
}

TEST_F(LiveModelsTest, AnEnormousFileIsRefusedUnread) {
  Start();
  fs::resize_file(Add("a") / kWeights, uintmax_t{1} << 40);
  LookTwice();
  EXPECT_THAT(std::string(models_.Status("a")->error.message()), HasSubstr("bytes; at most"));
}

TEST_F(LiveModelsTest, AModelIsGoneAfterTwoLooksWithoutIt) {
  Add("a");
  Start();
  const LoadedModelHandle held = Get("a");
  fs::rename(root_.path() / "a", root_.path() / ".a");
  EXPECT_EQ(live_->Look(), absl::OkStatus());
  EXPECT_THAT(Served(), ElementsAre("a")) << "it may be about to be replaced";
  EXPECT_EQ(live_->Look(), absl::OkStatus());
  EXPECT_THAT(Served(), IsEmpty());
  EXPECT_TRUE(WarmUp(*held->pipelines[0]->network).ok());
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

// A server whose memory holds one model of those there are.
class OneModelTest : public LiveModelsTest {
 protected:
  OneModelTest() {
    Add("a");
    Add("b");
  }
  void SetUp() override { Start(kBytes); }

  // A request that waits.
  std::unique_ptr<ModelWait> Want(const std::string& id) {
    return *models_.Acquire(id, [this] { woken_.Notify(); });
  }

  static constexpr int64_t kBytes = 159'697 * 4;  // of "gray-not-square", in float32
  absl::Notification woken_;
};

TEST_F(OneModelTest, WhatDoesNotFitIsKnownAllTheSame) {
  ASSERT_EQ(BytesOf("a"), kBytes);
  EXPECT_EQ(StateOf("a"), LoadState::kLoaded);
  EXPECT_EQ(StateOf("b"), LoadState::kUnloaded);
  EXPECT_EQ(ChannelsOf("b"), 1);
}

TEST_F(OneModelTest, ARequestBringsItsModelBackOnceOthersAreDone) {
  LoadedModelHandle running = Get("a");
  const auto wait = Want("b");
  while (StateOf("a") == LoadState::kLoaded) std::this_thread::yield();  // it was chosen to go
  EXPECT_FALSE(wait->result().has_value()) << "a request still holds the memory";
  running.reset();
  woken_.WaitForNotification();
  EXPECT_EQ((**wait->result())->model->id, "b");
}

TEST_F(OneModelTest, NobodyElseWaitsWhileARequestHoldsTheMemory) {
  const LoadedModelHandle running = Get("a");
  const auto wait = Want("b");
  Add("c");
  LookTwice();
  EXPECT_EQ(StateOf("c"), LoadState::kUnloaded) << "the folder is looked at";
  EXPECT_EQ(live_->Delete("c"), absl::OkStatus());
  std::atomic<bool> is_cancelled = false;
  auto load = std::async(std::launch::async, [&] {
    return live_->Load("b", [&] { return is_cancelled.exchange(true); });
  });
  clock_.AdvanceUntilReady(load, absl::Seconds(1));
  EXPECT_TRUE(absl::IsCancelled(load.get())) << "a call that waits ends when its caller goes";
}

TEST_F(OneModelTest, ANewVersionOfALoadedModelTakesItsPlace) {
  LoadedModelHandle running = Get("a");
  fs::remove_all(root_.path() / "a");
  fs::copy(kReference / kGray, root_.path() / "a", fs::copy_options::recursive);
  const fs::path weights = root_.path() / "a" / kWeights;
  fs::permissions(weights, fs::perms::owner_write, fs::perm_options::add);
  std::string bytes = ReadFile(weights);
  bytes.back() ^= 1;
  WriteFile(weights, bytes);
  LookTwice();
  EXPECT_EQ(StateOf("a"), LoadState::kUnloaded) << "there is no room for both";
  EXPECT_NE((*models_.Find("a"))->version, running->model->version);
  running.reset();
  EXPECT_EQ(Get("a")->model->version, (*models_.Find("a"))->version);
}

TEST_F(OneModelTest, ABrokenVersionOfALoadedModelTakesNothingAway) {
  const fs::path weights = root_.path() / "a" / kWeights;
  std::string bytes = ReadFile(weights);
  bytes.replace(bytes.size() - 4, 4, "\xff\xff\xff\x7f");
  WriteFile(weights, bytes);
  LookTwice();
  EXPECT_EQ(StateOf("a"), LoadState::kLoaded);
  EXPECT_THAT(std::string(models_.Status("a")->error.message()), HasSubstr("NaN"));
  EXPECT_TRUE(absl::IsFailedPrecondition(live_->Load("a"))) << "its newest files do not load";
}

TEST_F(OneModelTest, AnInstallationThatWaitsForMemoryEndsWhenItsCallerGoes) {
  const LoadedModelHandle running = Get("a");
  const auto description = ParsedModel::OpenConfigs(root_.path() / "a")->description();
  const auto write = [](const fs::path&) -> absl::Status {
    ADD_FAILURE() << "nothing is written before there is room";
    return absl::OkStatus();
  };
  std::atomic<bool> is_cancelled = false;
  auto install = std::async(std::launch::async, [&] {
    return live_->Install("c", description, write, [&] { return is_cancelled.exchange(true); });
  });
  clock_.AdvanceUntilReady(install, absl::Seconds(1));
  EXPECT_TRUE(absl::IsCancelled(install.get().status()));
}

TEST_F(OneModelTest, AnInstalledVersionOfALoadedModelTakesItsPlace) {
  const auto description = ParsedModel::OpenConfigs(root_.path() / "a")->description();
  const auto copy = [](const fs::path& folder) {
    fs::copy(kReference / kGray, folder, fs::copy_options::recursive);
    return absl::OkStatus();
  };
  const auto installed = live_->Install("a", description, copy);
  ASSERT_TRUE(installed.ok()) << installed.status();
  EXPECT_EQ(StateOf("a"), LoadState::kLoaded);
  EXPECT_LE(memory_bytes_, kBytes);
}

TEST_F(OneModelTest, AModelIsSeenLoadingFromTheCallUntilItIsThere) {
  LoadedModelHandle running = Get("a");
  const auto watcher = models_.Watch([] {});
  while (watcher->Next()) continue;
  auto load = std::async(std::launch::async, [&] { return live_->Load("b"); });
  while (StateOf("b") == LoadState::kUnloaded) std::this_thread::yield();
  EXPECT_EQ(StateOf("b"), LoadState::kLoading) << "it waits for memory";
  running.reset();
  clock_.AdvanceUntilReady(load, absl::Seconds(1));
  EXPECT_EQ(load.get(), absl::OkStatus());

  std::vector<LoadState> seen;
  while (const auto change = watcher->Next()) {
    if (change->id == "b") seen.push_back(change->status->state);
  }
  EXPECT_THAT(seen, ElementsAre(LoadState::kLoaded));
  EXPECT_EQ(live_->Unload("b")->state, LoadState::kUnloaded);
}

TEST_F(OneModelTest, ALoadThatIsGivenUpLeavesItsModelUnloaded) {
  const LoadedModelHandle running = Get("a");
  std::atomic<bool> is_cancelled = false;
  auto load = std::async(std::launch::async,
                         [&] { return live_->Load("b", [&] { return is_cancelled.load(); }); });
  while (StateOf("b") != LoadState::kLoading) std::this_thread::yield();
  is_cancelled = true;
  clock_.AdvanceUntilReady(load, absl::Seconds(1));
  EXPECT_TRUE(absl::IsCancelled(load.get()));
  EXPECT_EQ(StateOf("b"), LoadState::kUnloaded);
}

TEST_F(OneModelTest, StopEndsAWaitForMemory) {
  const LoadedModelHandle running = Get("a");
  const auto wait = Want("b");
  while (StateOf("a") == LoadState::kLoaded) std::this_thread::yield();
  live_->Stop();
  woken_.WaitForNotification();
  EXPECT_TRUE(absl::IsUnavailable(wait->result()->status()));
  live_.reset();
}

TEST_F(OneModelTest, AFolderThatIsGoneForAMomentIsNotGivenUp) {
  fs::rename(root_.path() / "b", root_.path() / ".b");
  const auto wait = Want("b");
  woken_.WaitForNotification();
  EXPECT_TRUE(absl::IsNotFound(wait->result()->status()));
  fs::rename(root_.path() / ".b", root_.path() / "b");
  LookTwice();
  EXPECT_EQ(Get("b")->model->id, "b");
}

TEST_F(LiveModelsTest, AProcessThatChangesTheFolderHoldsUpNoLoad) {
  Add("a");
  Add("b");
  Start();
  const FileDescriptor other(open((root_.path() / ".lock").c_str(), O_RDWR | O_CREAT, 0666));
  ASSERT_EQ(flock(other.get(), LOCK_EX | LOCK_NB), 0);
  auto deleted = std::async(std::launch::async, [&] { return live_->Delete("b"); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // it waits for the lock

  EXPECT_EQ(live_->Unload("a")->state, LoadState::kUnloaded);
  EXPECT_EQ(live_->Load("a"), absl::OkStatus());
  EXPECT_EQ(live_->Open("a").status(), absl::OkStatus());
  EXPECT_EQ(live_->Look(), absl::OkStatus());

  EXPECT_NE(deleted.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  ASSERT_EQ(flock(other.get(), LOCK_UN), 0);
  EXPECT_EQ(deleted.get(), absl::OkStatus());
  EXPECT_THAT(Served(), ElementsAre("a"));
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
  EXPECT_EQ(Get("a")->model->id, "a@1");
  EXPECT_EQ(loads_, 2);
  EXPECT_EQ(live_->Load("a"), absl::OkStatus());
  EXPECT_EQ(loads_, 2) << "it is loaded already";

  Add("new", kColour);  // not looked at yet
  EXPECT_EQ(live_->Load("new"), absl::OkStatus());
  EXPECT_EQ(ChannelsOf("new"), 3);
  fs::remove(Add("broken") / kWeights);
  EXPECT_TRUE(absl::IsFailedPrecondition(live_->Load("broken")));
  EXPECT_TRUE(absl::IsNotFound(live_->Load("absent")));
  EXPECT_TRUE(absl::IsNotFound(live_->Load("../a")));
  EXPECT_TRUE(absl::IsNotFound(live_->Unload("absent").status()));
}

TEST_F(LiveModelsTest, ADeletedModelIsServedNoMoreAndItsHoldersFinish) {
  Add("a");
  Add("b");
  Start();
  const LoadedModelHandle held = Get("a");
  EXPECT_EQ(live_->Delete("a"), absl::OkStatus());
  EXPECT_THAT(Served(), ElementsAre("b"));
  EXPECT_FALSE(fs::exists(root_.path() / "a"));
  EXPECT_TRUE(WarmUp(*held->pipelines[0]->network).ok());
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
  const auto description = ParsedModel::OpenConfigs(kReference / kColour)->description();
  const auto installed = live_->Install("a", description, copy);
  ASSERT_TRUE(installed.ok()) << installed.status();
  const LoadedModelHandle first = Get("a");
  EXPECT_EQ(first->model, *installed);
  LookTwice();
  EXPECT_EQ(Get("a"), first);
  EXPECT_EQ(loads_, 1);
  const auto full = [](const fs::path&) {
    return absl::ResourceExhaustedError("the disk is full");
  };
  EXPECT_FALSE(live_->Install("b", description, full).ok());
  EXPECT_THAT(Served(), ElementsAre("a"));
}

}  // namespace
}  // namespace denoise
