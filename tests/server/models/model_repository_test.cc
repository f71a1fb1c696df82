#include "server/models/model_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int64_t kBytes = 100;

ModelHandle Described(std::string id, std::string version = "1") {
  ModelInfo info = {.source = {},
                    .spec = {},
                    .schedule = *Schedule::Create({}),
                    .scheduler = {},
                    .default_sampler = {},
                    .id2label = {},
                    .null_class_label = {}};
  return std::make_shared<Model>(Model{std::move(info), std::move(id), std::move(version), kBytes});
}

LoadedModelHandle Loaded(std::string id, std::string version = "1") {
  return std::make_shared<LoadedModel>(
      LoadedModel{Described(std::move(id), std::move(version)), {nullptr}});
}

std::vector<std::string> Ids(const std::vector<ModelStatus>& models) {
  std::vector<std::string> ids;
  for (const ModelStatus& model : models) ids.push_back(model.id);
  return ids;
}

// A loaded model, as a request gets it.
LoadedModelHandle Get(ModelRepository& models, const std::string& id) {
  return **(*models.Acquire(id, [] { ADD_FAILURE() << "it is there at once"; }))->result();
}

const absl::Status kBroken = absl::InvalidArgumentError("its config is empty");

TEST(ModelRepository, ListsInOrderFromAnyPlace) {
  ModelRepository models({Loaded("b"), Loaded("c")});
  models.Publish(Loaded("a"));
  models.Fail("bad", kBroken);
  EXPECT_THAT(Ids(models.ListAfter("", 2, false)), ElementsAre("a", "b"));
  EXPECT_THAT(Ids(models.ListAfter("b", 2, false)), ElementsAre("c"));
  EXPECT_THAT(Ids(models.ListAfter("aa", 2, false)), ElementsAre("b", "c"));
  EXPECT_THAT(Ids(models.ListAfter("", 9, true)), ElementsAre("a", "b", "bad", "c"));
}

TEST(ModelRepository, APublishedModelReplacesTheOneOfItsId) {
  ModelRepository models({Loaded("a", "old"), Loaded("b")});
  LoadedModelHandle held = Get(models, "a");
  const std::weak_ptr<const LoadedModel> old = held;
  models.Publish(Loaded("a", "new"));
  EXPECT_EQ((*models.Find("a"))->version, "new");
  EXPECT_EQ(models.counts().loaded, 2);
  EXPECT_EQ(held->model->version, "old");
  held.reset();
  EXPECT_TRUE(old.expired());
}

TEST(ModelRepository, FindsNothingWhereThereIsNone) {
  EXPECT_TRUE(absl::IsNotFound(ModelRepository({Loaded("a")}).Find("b").status()));
  EXPECT_TRUE(absl::IsNotFound(ModelRepository().Find("").status()));
}

TEST(ModelRepository, ANameWithoutAVersionIsTheHighestThatHasNotFailed) {
  ModelRepository models({Loaded("a@2"), Loaded("a@10"), Loaded("a-b")});
  models.Fail("a@11", kBroken);
  EXPECT_EQ((*models.Find("a"))->id, "a@10");
  EXPECT_EQ((*models.Find("a@2"))->id, "a@2");
  EXPECT_TRUE(absl::IsNotFound(models.Find("a@3").status()));
  EXPECT_TRUE(absl::IsNotFound(models.Find("a-").status()));
  models.Remove("a@10");
  EXPECT_EQ((*models.Find("a"))->id, "a@2");
  models.Remove("a@2");
  EXPECT_TRUE(absl::IsFailedPrecondition(models.Find("a").status())) << "only a@11 is left";
  models.Publish(Loaded("a"));
  EXPECT_EQ((*models.Find("a"))->id, "a") << "a folder of just that name comes first";
}

TEST(ModelRepository, AModelThatDoesNotLoadSaysWhy) {
  ModelRepository models;
  models.Fail("a", kBroken);
  EXPECT_EQ(models.Find("a").status(),
            absl::FailedPreconditionError("models/a does not load: its config is empty"));
  EXPECT_EQ(models.Status("a")->state, LoadState::kFailed);
  EXPECT_EQ(models.counts().failed, 1);
  models.Publish(Loaded("a"));
  EXPECT_TRUE(models.Find("a").ok());
  EXPECT_EQ(models.counts().failed, 0);
}

TEST(ModelRepository, ABrokenVersionLeavesTheLoadedOneServed) {
  ModelRepository models({Loaded("a")});
  models.Fail("a", kBroken);
  EXPECT_TRUE(models.Find("a").ok());
  EXPECT_EQ(models.Status("a")->state, LoadState::kLoaded);
  EXPECT_EQ(models.Status("a")->error, kBroken);
  models.Unload("a");
  EXPECT_EQ(models.Status("a")->state, LoadState::kFailed) << "there is nothing to load again";
}

TEST(ModelRepository, UnloadingFreesTheWeightsOnceTheirHoldersAreDone) {
  ModelRepository models({Loaded("a")});
  LoadedModelHandle held = Get(models, "a");
  const std::weak_ptr<const LoadedModel> weights = held;
  EXPECT_TRUE(models.Unload("a"));
  EXPECT_FALSE(models.Unload("a"));
  EXPECT_FALSE(models.Unload("b"));
  EXPECT_EQ(models.Status("a")->state, LoadState::kUnloaded);
  EXPECT_EQ((*models.Find("a"))->version, "1");
  EXPECT_FALSE(weights.expired());
  held.reset();
  EXPECT_TRUE(weights.expired());
}

TEST(ModelRepository, ADescriptionReplacesOnlyTheWeightsOfAnotherVersion) {
  ModelRepository models({Loaded("a", "1")});
  models.Fail("a", kBroken);
  models.Describe(Described("a", "1"));
  EXPECT_EQ(models.Status("a")->state, LoadState::kLoaded);
  EXPECT_TRUE(models.Status("a")->error.ok());
  models.Describe(Described("a", "2"));
  EXPECT_EQ(models.Status("a")->state, LoadState::kUnloaded);
  EXPECT_EQ((*models.Find("a"))->version, "2");
}

TEST(ModelRepository, TheLeastRecentlyUsedGivesWay) {
  ModelRepository models({Loaded("a"), Loaded("b"), Loaded("c"), Loaded("d")});
  for (const char* id : {"b", "c", "a", "d"}) EXPECT_TRUE(models.Find(id).ok());
  EXPECT_EQ(models.counts().loaded_bytes, 4 * kBytes);
  using Which = ModelRepository::Which;
  EXPECT_EQ(models.UnloadLeastRecentlyUsed(Which::kAny, /*kept=*/"b"), "c");
  const LoadedModelHandle held = Get(models, "b");
  EXPECT_TRUE(models.Find("a").ok());
  EXPECT_TRUE(models.Find("d").ok());
  EXPECT_EQ(models.UnloadLeastRecentlyUsed(Which::kIdle, /*kept=*/""), "a") << "b is in use";
  EXPECT_EQ(models.UnloadLeastRecentlyUsed(Which::kIdle, /*kept=*/"d"), std::nullopt);
  EXPECT_EQ(models.UnloadLeastRecentlyUsed(Which::kAny, /*kept=*/"d"), "b");
  EXPECT_EQ(models.counts().loaded_bytes, kBytes);
}

TEST(ModelRepository, AModelThatCouldNotComeBackGivesWayLast) {
  ModelRepository models({Loaded("a"), Loaded("b")});
  models.Fail("a", kBroken);
  EXPECT_EQ(models.UnloadLeastRecentlyUsed(ModelRepository::Which::kIdle, ""), "b");
}

TEST(ModelRepository, ErrorsInsideTheServerAreNotForCallers) {
  ModelRepository models;
  models.Fail("a", absl::UnknownError("/srv/models/a: cudaErrorIllegalAddress"));
  EXPECT_THAT(std::string(models.Find("a").status().message()), Not(HasSubstr("/srv")));
  EXPECT_THAT(std::string(models.Status("a")->error.message()), Not(HasSubstr("/srv")));
}

class Waiting : public testing::Test {
 protected:
  std::unique_ptr<ModelWait> Wait(const std::string& id) {
    auto wait = models_.Acquire(id, [this] { ++wakes_; });
    EXPECT_TRUE(wait.ok()) << wait.status();
    return *std::move(wait);
  }
  std::optional<std::string> NextWanted() { return models_.NextWanted(clock_, clock_.Now()); }

  FakeClock clock_;
  ModelRepository models_{{Loaded("loaded")}};
  int wakes_ = 0;

 private:
  void SetUp() override { models_.Describe(Described("a")); }
};

TEST_F(Waiting, ALoadedModelIsThereAtOnce) {
  EXPECT_EQ((**Wait("loaded")->result())->model->id, "loaded");
  EXPECT_EQ(NextWanted(), std::nullopt);
}

TEST_F(Waiting, WhoeverWaitsGetsTheModelEvenIfItIsUnloadedAtOnce) {
  const auto first = Wait("a");
  const auto second = Wait("a");
  EXPECT_EQ(models_.Status("a")->state, LoadState::kLoading);
  EXPECT_EQ(NextWanted(), "a");
  EXPECT_FALSE(first->result().has_value());
  models_.Publish(Loaded("a"));
  models_.Unload("a");
  EXPECT_EQ(wakes_, 2);
  EXPECT_EQ((**first->result())->model->id, "a");
  EXPECT_EQ((**second->result())->model->id, "a");
  EXPECT_EQ(NextWanted(), std::nullopt);
}

TEST_F(Waiting, AWishEndsWithItsObject) {
  Wait("a").reset();
  EXPECT_EQ(NextWanted(), std::nullopt);
  EXPECT_EQ(models_.Status("a")->state, LoadState::kUnloaded);
}

TEST_F(Waiting, AFailureAndARemovalAreAnswersToo) {
  const auto failed = Wait("a");
  models_.Fail("a", kBroken);
  EXPECT_TRUE(absl::IsFailedPrecondition(failed->result()->status()));
  models_.Describe(Described("a"));
  const auto removed = Wait("a");
  models_.Remove("a");
  EXPECT_TRUE(absl::IsNotFound(removed->result()->status()));
  EXPECT_EQ(wakes_, 2);
}

TEST_F(Waiting, WhatIsNoFaultOfTheFilesEndsTheWaitOnly) {
  const auto wait = Wait("a");
  models_.EndWaits("a", absl::UnavailableError("later"));
  EXPECT_EQ(wait->result()->status(), absl::UnavailableError("later"));
  EXPECT_EQ(models_.Status("a")->state, LoadState::kUnloaded);
}

TEST_F(Waiting, TheLongestWaitComesFirst) {
  models_.Describe(Described("b"));
  models_.Describe(Described("c"));
  const auto c = Wait("c");
  const auto a = Wait("a");
  auto b = Wait("b");
  EXPECT_EQ(NextWanted(), "c");
  models_.Publish(Loaded("c"));
  models_.Unload("c");
  const auto again = Wait("c");
  EXPECT_EQ(NextWanted(), "a");
  EXPECT_EQ(models_.NextWanted(clock_, clock_.Now(), {"a"}), "b");
  b.reset();
  EXPECT_EQ(models_.NextWanted(clock_, clock_.Now(), {"a"}), "c");
}

TEST_F(Waiting, StopAnswersEverybody) {
  const auto wait = Wait("a");
  auto wanted = std::async(std::launch::async, [&] {
    while (models_.NextWanted(clock_, absl::InfiniteFuture())) continue;
    return true;
  });
  models_.Stop();
  EXPECT_TRUE(wanted.get());
  EXPECT_TRUE(absl::IsUnavailable(wait->result()->status()));
  EXPECT_TRUE(absl::IsUnavailable(models_.Acquire("a", [] {}).status()));
  EXPECT_TRUE(models_.Acquire("loaded", [] {}).ok());
}

TEST_F(Waiting, HasALimit) {
  std::vector<std::unique_ptr<ModelWait>> waits;
  for (int i = 0; i < 256; ++i) waits.push_back(Wait("a"));
  const absl::Status status = models_.Acquire("a", [] {}).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("too many calls wait"));
  waits.pop_back();
  EXPECT_TRUE(models_.Acquire("a", [] {}).ok());
}

class Watching : public testing::Test {
 protected:
  // "+a loaded", "-a"
  std::vector<std::string> Take() {
    std::vector<std::string> changes;
    while (const auto change = watcher_->Next()) {
      constexpr const char* kNames[] = {"loaded", "loading", "unloaded", "failed"};
      changes.push_back(
          change->status
              ? absl::StrCat("+", change->id, " ", kNames[static_cast<int>(change->status->state)])
              : absl::StrCat("-", change->id));
    }
    return changes;
  }
  void Watch() {
    watcher_ = models_.Watch([this] { ++wakes_; });
  }
  void SetUp() override {
    models_.Describe(Described("b"));
    Watch();
  }

  int wakes_ = 0;
  ModelRepository models_{{Loaded("c"), Loaded("a")}};
  std::unique_ptr<ModelRepository::Watcher> watcher_;
};

TEST_F(Watching, BeginsWithWhatThereIs) {
  EXPECT_FALSE(watcher_->complete());
  models_.Publish(Loaded("d"));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(watcher_->Next().has_value());
  EXPECT_TRUE(watcher_->complete()) << "changes since do not hold it up";
  EXPECT_THAT(Take(), ElementsAre("+d loaded"));
  EXPECT_THAT(Take(), IsEmpty());
  EXPECT_EQ(wakes_, 1);
  watcher_.reset();
  Watch();
  models_.Remove("a");
  EXPECT_THAT(Take(), ElementsAre("+c loaded", "+b unloaded", "+d loaded", "-a"));
}

TEST_F(Watching, ReportsTheNewestStateInOrderOfChange) {
  Take();
  models_.Unload("c");
  models_.Unload("a");
  models_.Publish(Loaded("a"));
  models_.Fail("d", kBroken);
  models_.Remove("b");
  EXPECT_EQ(wakes_, 5);
  EXPECT_THAT(Take(), ElementsAre("+c unloaded", "+a loaded", "+d failed", "-b"));
}

TEST_F(Watching, NoModelThatKeepsChangingHidesAnother) {
  Take();
  models_.Unload("a");
  models_.Remove("c");
  EXPECT_EQ(watcher_->Next()->id, "a");
  models_.Publish(Loaded("a"));
  EXPECT_EQ(watcher_->Next()->id, "c");
  EXPECT_EQ(watcher_->Next()->id, "a");
}

TEST_F(Watching, ReportsThatAModelIsWantedAndNoLonger) {
  Take();
  auto first = models_.Acquire("b", [] {});
  auto second = models_.Acquire("b", [] {});
  EXPECT_THAT(Take(), ElementsAre("+b loading"));
  first->reset();
  EXPECT_THAT(Take(), IsEmpty());
  second->reset();
  EXPECT_THAT(Take(), ElementsAre("+b unloaded"));
}

TEST_F(Watching, WhatGoesAndComesBackIsNotReportedAsGone) {
  Take();
  models_.Remove("a");
  models_.Publish(Loaded("a"));
  EXPECT_THAT(Take(), ElementsAre("+a loaded"));
  models_.Remove("a");
  models_.Publish(Loaded("a"));
  models_.Remove("a");
  EXPECT_THAT(Take(), ElementsAre("-a"));
}

TEST_F(Watching, StopWakesWatchers) {
  models_.Stop();
  EXPECT_EQ(wakes_, 1);
}

TEST(ModelRepository, TellsHowManyModelsThereAre) {
  std::vector<int> loaded;
  ModelRepository models({Loaded("a")},
                         [&](const ModelCounts& counts) { loaded.push_back(counts.loaded); });
  models.Publish(Loaded("b"));
  models.Unload("a");
  models.Remove("b");
  EXPECT_THAT(loaded, ElementsAre(1, 2, 1, 0));
}

// For the thread sanitizer.
TEST(ModelRepository, IsReadWhileModelsComeAndGo) {
  ModelRepository models({Loaded("0")});
  std::vector<std::thread> threads;
  for (int writer = 0; writer < 2; ++writer) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        models.Publish(Loaded(absl::StrCat(i % 7)));
        models.UnloadLeastRecentlyUsed(ModelRepository::Which::kIdle, "0");
      }
    });
  }
  for (int reader = 0; reader < 2; ++reader) {
    threads.emplace_back([&] {
      const auto watcher = models.Watch([] {});
      for (int i = 0; i < 100; ++i) {
        EXPECT_TRUE(models.Find("0").ok());
        EXPECT_TRUE(models.Acquire("0", [] {}).ok());
        EXPECT_LE(models.ListAfter("", 10, true).size(), 7u);
        watcher->Next();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(models.ListAfter("", 10, true).size(), 7u);
}

}  // namespace
}  // namespace denoise
