#include "server/models/model_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;

ModelHandle NewModel(std::string id, std::string version = "1") {
  ModelInfo info = {.source = {},
                    .spec = {},
                    .schedule = *Schedule::Create({}),
                    .scheduler = {},
                    .default_sampler = {},
                    .id2label = {},
                    .null_class_label = {}};
  return std::make_shared<Model>(Model{std::move(info), std::move(id), std::move(version), {}});
}

std::vector<std::string> Ids(const std::vector<ModelHandle>& models) {
  std::vector<std::string> ids;
  for (const ModelHandle& model : models) ids.push_back(model->id);
  return ids;
}

TEST(ModelRepository, ListsInOrderFromAnyPlace) {
  ModelRepository models({NewModel("b"), NewModel("c")});
  models.Publish(NewModel("a"));
  EXPECT_THAT(Ids(models.ListAfter("", 2)), ElementsAre("a", "b"));
  EXPECT_THAT(Ids(models.ListAfter("b", 2)), ElementsAre("c"));
  EXPECT_THAT(Ids(models.ListAfter("aa", 2)), ElementsAre("b", "c"));
}

TEST(ModelRepository, APublishedModelReplacesTheOneOfItsId) {
  ModelRepository models({NewModel("a", "old"), NewModel("b")});
  ModelHandle held = models.Find("a");
  const std::weak_ptr<const Model> old = held;
  models.Publish(NewModel("a", "new"));
  EXPECT_EQ(models.Find("a")->version, "new");
  EXPECT_EQ(models.size(), 2u);
  EXPECT_EQ(held->version, "old");
  held.reset();
  EXPECT_TRUE(old.expired());
}

TEST(ModelRepository, FindsNothingWhereThereIsNone) {
  EXPECT_EQ(ModelRepository({NewModel("a")}).Find("b"), nullptr);
  EXPECT_EQ(ModelRepository().Find(""), nullptr);
}

TEST(ModelRepository, TellsHowManyModelsThereAre) {
  std::vector<size_t> sizes;
  ModelRepository models({NewModel("a")}, [&](size_t size) { sizes.push_back(size); });
  models.Publish(NewModel("b"));
  models.Publish(NewModel("b"));
  EXPECT_THAT(sizes, ElementsAre(1, 2, 2));
}

// For the thread sanitizer.
TEST(ModelRepository, IsReadWhileModelsArePublished) {
  ModelRepository models({NewModel("0")});
  std::vector<std::thread> threads;
  for (int writer = 0; writer < 2; ++writer) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) models.Publish(NewModel(absl::StrCat(i % 7)));
    });
  }
  for (int reader = 0; reader < 2; ++reader) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        EXPECT_NE(models.Find("0"), nullptr);
        EXPECT_LE(models.ListAfter("", 10).size(), 7u);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(models.size(), 7u);
}

}  // namespace
}  // namespace denoise
