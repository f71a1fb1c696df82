#include "core/data/class_labels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/status_macros.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;

const ModelClasses kPets = {
    .count = 4, .names = {{0, "cat"}, {1, "dog"}, {2, "emu"}}, .null_class_label = 3};

// Picture i is of class i.
class OneOfEach : public DataSet {
 public:
  explicit OneOfEach(std::vector<std::string> classes) : classes_(std::move(classes)) {}
  int64_t size() const override { return static_cast<int64_t>(classes_.size()); }
  const std::vector<std::string>& classes() const override { return classes_; }
  int64_t label(int64_t i) const override { return i; }
  std::string name(int64_t i) const override { return classes_[i]; }
  absl::StatusOr<Image> Read(int64_t i) const override {
    return Image{.width = 1, .height = 1, .channels = 1, .pixels = {static_cast<uint8_t>(i)}};
  }

 private:
  std::vector<std::string> classes_;
};

TEST(ClassLabels, AreMatchedByNameInAnyOrder) {
  EXPECT_THAT(*MatchClasses({"cat", "dog", "emu"}, kPets), ElementsAre(0, 1, 2));
  EXPECT_THAT(*MatchClasses({"emu", "cat", "dog"}, kPets), ElementsAre(2, 0, 1));
}

TEST(ClassLabels, ADataSetMayHoldSomeOfTheModelsClasses) {
  EXPECT_THAT(*MatchClasses({"dog"}, kPets), ElementsAre(1));
}

TEST(ClassLabels, AClassThatTheModelLacksIsRefused) {
  EXPECT_EQ(MatchClasses({"cat", "yak"}, kPets).status().message(),
            "has class 1 that the network has not: classes go by their names");
  EXPECT_FALSE(MatchClasses({}, kPets).ok());
}

TEST(ClassLabels, TheNullClassMatchesNoClass) {
  ModelClasses model = kPets;
  model.names[3] = "nothing";
  EXPECT_FALSE(MatchClasses({"nothing"}, model).ok());
}

TEST(ClassLabels, OfAModelWithoutNamesMustAgreeInNumber) {
  const ModelClasses model = {.count = 3, .names = {{0, "cat"}}, .null_class_label = 2};
  EXPECT_THAT(*MatchClasses({"cat", "zebra"}, model), ElementsAre(0, 1));
  EXPECT_EQ(MatchClasses({"yak", "zebra"}, model).status().message(),
            "class 0 of the network has another name");
  EXPECT_FALSE(MatchClasses({"yak"}, model).ok());
  EXPECT_FALSE(MatchClasses({"a", "b", "c"}, model).ok());
}

TEST(ClassLabels, OfTwoClassesWithOneNameTheOneInTheSamePlaceMatches) {
  EXPECT_THAT(*MatchClasses({"albatross", "crane"},
                            {.count = 3, .names = {{0, "crane"}, {1, "crane"}, {2, "albatross"}}}),
              ElementsAre(2, 1));
}

TEST(RelabelledDataSet, HasTheModelsLabelsAndNames) {
  const auto pets = std::make_shared<OneOfEach>(std::vector<std::string>{"emu", "cat"});
  const auto data = Relabelled(pets, {2, 0});

  EXPECT_THAT(data->classes(), ElementsAre("cat", "", "emu"));
  EXPECT_EQ(data->label(0), 2);
  EXPECT_EQ(data->label(1), 0);
  EXPECT_EQ(data->size(), 2);
  EXPECT_EQ(data->name(1), "cat");
  EXPECT_EQ(data->Read(1)->pixels, std::vector<uint8_t>{1});
}

TEST(RelabelledDataSet, IsTheDataSetItselfWhereNothingChanges) {
  const auto pets = std::make_shared<OneOfEach>(std::vector<std::string>{"cat", "dog"});
  EXPECT_EQ(Relabelled(pets, {0, 1}), pets);
}

}  // namespace
}  // namespace denoise
