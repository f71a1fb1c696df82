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

constexpr int64_t kBytes = 100;

std::shared_ptr<Model> NewModel(std::string id, std::string version = "1") {
  ModelInfo info = {.source = {},
                    .spec = {},
                    .schedule = *Schedule::Create({}),
                    .scheduler = {},
                    .default_sampler = {},
                    .id2label = {},
                    .null_class_label = {}};
  return std::make_shared<Model>(
      Model{std::move(info), std::move(id), std::move(version), {nullptr}, kBytes});
}

ModelHandle Unloaded(std::string id, std::string version = "1") {
  return WithoutWeights(*NewModel(std::move(id), std::move(version)));
}

std::vector<std::string> Ids(const std::vector<ModelStatus>& models) {
  std::vector<std::string> ids;
  for (const ModelStatus& model : models) ids.push_back(model.id);
  return ids;
}

const absl::Status kBroken = absl::InvalidArgumentError("its config is empty");

TEST(ModelRepository, ListsInOrderFromAnyPlace) {
  ModelRepository models({NewModel("b"), NewModel("c")});
  models.Publish(NewModel("a"));
  models.Fail("bad", kBroken);
  EXPECT_THAT(Ids(models.ListAfter("", 2, false)), ElementsAre("a", "b"));
  EXPECT_THAT(Ids(models.ListAfter("b", 2, false)), ElementsAre("c"));
  EXPECT_THAT(Ids(models.ListAfter("aa", 2, false)), ElementsAre("b", "c"));
  EXPECT_THAT(Ids(models.ListAfter("", 9, true)), ElementsAre("a", "b", "bad", "c"));
}

TEST(ModelRepository, APublishedModelReplacesTheOneOfItsId) {
  ModelRepository models({NewModel("a", "old"), NewModel("b")});
  ModelHandle held = *models.Find("a");
  const std::weak_ptr<const Model> old = held;
  models.Publish(NewModel("a", "new"));
  EXPECT_EQ((*models.Find("a"))->version, "new");
  EXPECT_EQ(models.counts().loaded, 2);
  EXPECT_EQ(held->version, "old");
  held.reset();
  EXPECT_TRUE(old.expired());
}

TEST(ModelRepository, FindsNothingWhereThereIsNone) {
  EXPECT_TRUE(absl::IsNotFound(ModelRepository({NewModel("a")}).Find("b").status()));
  EXPECT_TRUE(absl::IsNotFound(ModelRepository().Find("").status()));
}

TEST(ModelRepository, ANameWithoutAVersionIsTheHighestThatHasNotFailed) {
  ModelRepository models({NewModel("a@2"), NewModel("a@10"), NewModel("a-b")});
  models.Fail("a@11", kBroken);
  EXPECT_EQ((*models.Find("a"))->id, "a@10");
  EXPECT_EQ((*models.Find("a@2"))->id, "a@2");
  EXPECT_TRUE(absl::IsNotFound(models.Find("a@3").status()));
  EXPECT_TRUE(absl::IsNotFound(models.Find("a-").status()));
  models.Remove("a@10");
  EXPECT_EQ((*models.Find("a"))->id, "a@2");
  models.Remove("a@2");
  EXPECT_TRUE(absl::IsFailedPrecondition(models.Find("a").status())) << "only a@11 is left";
  models.Publish(NewModel("a"));
  EXPECT_EQ((*models.Find("a"))->id, "a") << "a folder of just that name comes first";
}

TEST(ModelRepository, AModelThatDoesNotLoadSaysWhy) {
  ModelRepository models;
  models.Fail("a", kBroken);
  EXPECT_EQ(models.Find("a").status(),
            absl::FailedPreconditionError("models/a does not load: its config is empty"));
  EXPECT_EQ(models.Status("a")->state, LoadState::kFailed);
  EXPECT_EQ(models.counts().failed, 1);
  models.Publish(NewModel("a"));
  EXPECT_TRUE(models.Find("a").ok());
  EXPECT_EQ(models.counts().failed, 0);
}

TEST(ModelRepository, ABrokenVersionLeavesTheLoadedOneServed) {
  ModelRepository models({NewModel("a")});
  models.Fail("a", kBroken);
  EXPECT_TRUE(models.Find("a").ok());
  EXPECT_EQ(models.Status("a")->state, LoadState::kLoaded);
  EXPECT_EQ(models.Status("a")->error, kBroken);
  models.Unload("a");
  EXPECT_EQ(models.Status("a")->state, LoadState::kFailed) << "there is nothing to load again";
}

TEST(ModelRepository, UnloadingFreesTheWeightsOnceTheirHoldersAreDone) {
  ModelRepository models({NewModel("a")});
  ModelHandle held = *models.Find("a");
  const std::weak_ptr<const Model> weights = held;
  EXPECT_TRUE(models.Unload("a"));
  EXPECT_FALSE(models.Unload("a"));
  EXPECT_FALSE(models.Unload("b"));
  EXPECT_FALSE((*models.Find("a"))->is_loaded());
  EXPECT_EQ((*models.Find("a"))->version, "1");
  EXPECT_FALSE(weights.expired());
  held.reset();
  EXPECT_TRUE(weights.expired());
}

TEST(ModelRepository, TheLeastRecentlyUsedGivesWay) {
  ModelRepository models({NewModel("a"), NewModel("b"), NewModel("c")});
  for (const char* id : {"b", "c", "a"}) EXPECT_TRUE(models.Find(id).ok());
  EXPECT_EQ(models.counts().loaded_bytes, 3 * kBytes);
  EXPECT_EQ(models.UnloadLeastRecentlyUsed(/*kept=*/"b"), "c");
  EXPECT_EQ(models.UnloadLeastRecentlyUsed(/*kept=*/""), "b");
  EXPECT_EQ(models.counts().loaded_bytes, kBytes);
  EXPECT_EQ(models.UnloadLeastRecentlyUsed(/*kept=*/"a"), std::nullopt);
}

class Waiting : public testing::Test {
 protected:
  std::shared_ptr<ModelWait> Wait(const std::string& id) {
    auto wait = models_.WaitFor(id, [this] { ++wakes_; });
    EXPECT_TRUE(wait.ok()) << wait.status();
    return *wait;
  }
  std::optional<std::string> NextWanted() { return models_.NextWanted(clock_, clock_.Now()); }

  FakeClock clock_;
  ModelRepository models_{{Unloaded("a"), NewModel("loaded")}};
  int wakes_ = 0;
};

TEST_F(Waiting, ALoadedModelIsThereAtOnce) {
  EXPECT_EQ((**Wait("loaded")->result())->id, "loaded");
  EXPECT_EQ(NextWanted(), std::nullopt);
}

TEST_F(Waiting, WhoeverWaitsGetsTheModelEvenIfItIsUnloadedAtOnce) {
  const auto first = Wait("a");
  const auto second = Wait("a");
  EXPECT_EQ(models_.Status("a")->state, LoadState::kLoading);
  EXPECT_EQ(NextWanted(), "a");
  EXPECT_EQ(first->result(), std::nullopt);
  models_.Publish(NewModel("a"));
  models_.Unload("a");
  EXPECT_EQ(wakes_, 2);
  EXPECT_TRUE((**first->result())->is_loaded());
  EXPECT_TRUE((**second->result())->is_loaded());
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
  models_.Publish(Unloaded("a"));
  const auto removed = Wait("a");
  models_.Remove("a");
  EXPECT_TRUE(absl::IsNotFound(removed->result()->status()));
  EXPECT_EQ(wakes_, 2);
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
  EXPECT_TRUE(absl::IsUnavailable(models_.WaitFor("a", [] {}).status()));
  EXPECT_TRUE(models_.WaitFor("loaded", [] {}).ok());
}

TEST_F(Waiting, HasALimit) {
  std::vector<std::shared_ptr<ModelWait>> waits;
  for (int i = 0; i < 256; ++i) waits.push_back(Wait("a"));
  const absl::Status status = models_.WaitFor("a", [] {}).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("too many calls wait"));
  waits.pop_back();
  EXPECT_TRUE(models_.WaitFor("a", [] {}).ok());
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

  int wakes_ = 0;
  ModelRepository models_{{NewModel("a"), Unloaded("b")}};
  std::unique_ptr<ModelRepository::Watcher> watcher_ = models_.Watch([this] { ++wakes_; });
};

TEST_F(Watching, BeginsWithWhatThereIs) {
  EXPECT_THAT(Take(), ElementsAre("+a loaded", "+b unloaded"));
  EXPECT_THAT(Take(), IsEmpty());
  EXPECT_EQ(wakes_, 0);
}

TEST_F(Watching, TellsTheNewestStateOfEveryChange) {
  Take();
  models_.Unload("a");
  models_.Publish(NewModel("a"));
  models_.Fail("c", kBroken);
  models_.Remove("b");
  EXPECT_EQ(wakes_, 4);
  EXPECT_THAT(Take(), ElementsAre("+a loaded", "+c failed", "-b"));
  const auto wait = models_.WaitFor("a", [] {});
  EXPECT_THAT(Take(), IsEmpty());
}

TEST_F(Watching, TellsThatAModelIsWanted) {
  Take();
  const auto wait = models_.WaitFor("b", [] {});
  EXPECT_THAT(Take(), ElementsAre("+b loading"));
}

TEST_F(Watching, WhatCameAndWentInBetweenIsNotTold) {
  Take();
  models_.Publish(NewModel("c"));
  models_.Remove("c");
  EXPECT_THAT(Take(), IsEmpty());
  watcher_.reset();
  models_.Publish(NewModel("c"));
  EXPECT_EQ(wakes_, 2);
}

TEST(ModelRepository, TellsHowManyModelsThereAre) {
  std::vector<int> loaded;
  ModelRepository models({NewModel("a")},
                         [&](const ModelCounts& counts) { loaded.push_back(counts.loaded); });
  models.Publish(NewModel("b"));
  models.Unload("a");
  models.Remove("b");
  EXPECT_THAT(loaded, ElementsAre(1, 2, 1, 0));
}

// For the thread sanitizer.
TEST(ModelRepository, IsReadWhileModelsComeAndGo) {
  ModelRepository models({NewModel("0")});
  std::vector<std::thread> threads;
  for (int writer = 0; writer < 2; ++writer) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        models.Publish(NewModel(absl::StrCat(i % 7)));
        models.UnloadLeastRecentlyUsed("0");
      }
    });
  }
  for (int reader = 0; reader < 2; ++reader) {
    threads.emplace_back([&] {
      const auto watcher = models.Watch([] {});
      for (int i = 0; i < 100; ++i) {
        EXPECT_TRUE(models.Find("0").ok());
        EXPECT_TRUE(models.WaitFor("0", [] {}).ok());
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
