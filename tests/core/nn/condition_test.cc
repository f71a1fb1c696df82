#include "core/nn/condition.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

SharedCondition Told(int64_t tokens, double value) {
  return std::make_shared<const Condition>(Condition{.text_states = at::full({tokens, 2}, value),
                                                     .guidance_scale = at::full({1}, value)});
}

TEST(StackConditions, LeavesOutWhatRowsAreNotTold) {
  const Conditions conditions = StackConditions({NoCondition(), ClassCondition(3)});
  EXPECT_FALSE(conditions.text_states.defined());
  EXPECT_FALSE(conditions.pooled_text.defined());
  EXPECT_FALSE(conditions.class_labels.defined()) << "labels are uploaded with other numbers";
  EXPECT_THAT(conditions.text_lengths, IsEmpty());
}

TEST(StackConditions, PadsTextsToTheLongest) {
  const Conditions conditions = StackConditions({Told(1, 5), Told(3, 7)});
  EXPECT_EQ(conditions.text_states.sizes(), at::IntArrayRef({2, 3, 2}));
  EXPECT_THAT(conditions.text_lengths, ElementsAre(1, 3));
  EXPECT_TRUE(conditions.text_states[0][0].equal(at::full({2}, 5.0)));
  EXPECT_TRUE(conditions.text_states[1].equal(at::full({3, 2}, 7.0)));
  EXPECT_TRUE(conditions.guidance_scales.equal(at::arange(5, 8, 2).to(at::kFloat)));
}

TEST(StackConditions, TextsOfOneLengthNeedNoLengths) {
  EXPECT_THAT(StackConditions({Told(2, 1), Told(2, 2)}).text_lengths, IsEmpty());
}

TEST(Conditions, NarrowTakesRows) {
  const Conditions rows = StackConditions({Told(1, 5), Told(3, 7), Told(2, 9)}).Narrow(1, 2);
  EXPECT_THAT(rows.text_lengths, ElementsAre(3, 2));
  EXPECT_TRUE(rows.guidance_scales.equal(at::arange(7, 10, 2).to(at::kFloat)));
  EXPECT_FALSE(rows.pooled_text.defined());
}

}  // namespace
}  // namespace denoise
