#include "core/nn/stored_tensor.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "core/nn/weight_reader.h"

namespace denoise {
namespace {

using nn::Initial;
using nn::WeightReader;
using ::testing::HasSubstr;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Counts how often it is read, and fails if it has nothing to give.
class CountingSource final : public TensorSource {
 public:
  explicit CountingSource(at::Tensor numbers) : numbers_(std::move(numbers)) {}

  absl::Status Read(int64_t first, int64_t count, const Take& take) const override {
    ++reads;
    if (!numbers_.defined()) return absl::AbortedError("has changed");
    for (int64_t i = first; i < first + count; ++i) take(numbers_.narrow(0, i, 1));
    return absl::OkStatus();
  }

  mutable int reads = 0;

 private:
  const at::Tensor numbers_;
};

StoredTensor Counted(const std::shared_ptr<const CountingSource>& source, int64_t numbers) {
  return {at::kFloat, {numbers}, source};
}

TEST(StoredTensor, IsRoundedAsTensorsAre) {
  for (const at::ScalarType from : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16}) {
    for (const at::ScalarType to : {at::kFloat, at::kHalf, at::kBFloat16}) {
      const at::Tensor tensor = at::randn({3, 1000, 500}).to(from);  // more than one piece
      const auto loaded = StoredTensor(tensor).Load(at::kCPU, to);
      ASSERT_TRUE(loaded.ok()) << loaded.status();
      EXPECT_TRUE(at::equal(loaded->tensor, tensor.to(to))) << from << " " << to;
      EXPECT_NE(loaded->tensor.data_ptr(), tensor.data_ptr());
      EXPECT_EQ(loaded->num_not_finite, 0);
    }
  }
}

TEST(StoredTensor, HasViewsAndPartsOfItsNumbers) {
  const at::Tensor tensor = at::arange(24, at::kFloat).view({6, 4});
  const StoredTensor stored(tensor);
  EXPECT_TRUE(at::equal(*stored.View({2, 12}).Get(), tensor.view({2, 12})));
  EXPECT_TRUE(at::equal(*stored.Rows(2, 3).Get(), tensor.narrow(0, 2, 3)));
  EXPECT_TRUE(at::equal(*stored.Rows(2, 3).Rows(1, 2).Get(), tensor.narrow(0, 3, 2)));
  const StoredTensor transposed = stored.Rows(4, 2).Transposed();
  EXPECT_EQ(transposed.sizes(), at::IntArrayRef({4, 2}));
  EXPECT_TRUE(at::equal(*transposed.Get(), tensor.narrow(0, 4, 2).t()));
  EXPECT_TRUE(at::equal(*StoredTensor(tensor.t()).Get(), tensor.t()));
}

TEST(StoredTensor, CountsNumbersThatAreNotFinite) {
  at::Tensor tensor = at::ones({2, 1 << 20}, at::kDouble);
  tensor.view({-1})[5].fill_(kNan);
  tensor.view({-1})[1 << 20].fill_(kInfinity);
  tensor.view({-1})[(1 << 20) + 1].fill_(1e300);  // beyond float32
  EXPECT_EQ(StoredTensor(tensor).Load(at::kCPU, at::kFloat)->num_not_finite, 3);
  EXPECT_EQ(StoredTensor(at::full({3}, 1e30)).Load(at::kCPU, at::kFloat)->num_not_finite, 0);
}

TEST(WeightReader, ReadsNothingMoreOnceATensorDoesNotFit) {
  const auto source = std::make_shared<const CountingSource>(at::ones({4}));
  const StoredTensors tensors = {{"a", Counted(source, 4)}, {"b", Counted(source, 4)}};
  WeightReader reader(tensors, at::kCPU, at::kFloat);
  EXPECT_TRUE(reader.Take({"a"}, {4}, Initial::Constant(0)).defined());
  EXPECT_EQ(source->reads, 1);
  EXPECT_FALSE(reader.Take({"b"}, {5}, Initial::Constant(0)).defined());
  EXPECT_FALSE(reader.Take({"a"}, {4}, Initial::Constant(0)).defined());
  EXPECT_EQ(source->reads, 1);
  EXPECT_THAT(std::string(reader.Finish().message()), HasSubstr("b: has shape [4]"));
}

TEST(WeightReader, SaysWhyATensorCannotBeRead) {
  const auto source = std::make_shared<const CountingSource>(at::Tensor());
  const StoredTensors tensors = {{"a", Counted(source, 4)}};
  WeightReader reader(tensors, at::kCPU, at::kFloat);
  EXPECT_FALSE(reader.Take({"a"}, {4}, Initial::Constant(0)).defined());
  EXPECT_EQ(reader.Finish(), absl::AbortedError("has changed"));
}

TEST(WeightReader, NamesStoredTensorsThatAreNotFinite) {
  const StoredTensors tensors = {{"a", at::full({4}, kNan)}, {"b", at::ones({4})}};
  WeightReader reader(tensors, at::kCPU, at::kBFloat16);
  for (const char* name : {"a", "b"}) reader.Take({name}, {4}, Initial::Constant(0));
  const absl::Status status = reader.Finish();
  EXPECT_THAT(std::string(status.message()), HasSubstr("a: has 4 of 4 values that are NaN"));
  EXPECT_THAT(std::string(status.message()), testing::Not(HasSubstr("b: ")));
}

}  // namespace
}  // namespace denoise
