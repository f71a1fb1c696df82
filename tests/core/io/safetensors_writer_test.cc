#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include "absl/strings/str_cat.h"
#include "core/io/safetensors.h"
#include "tests/core/io/io_testing.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
using Tensors = std::map<std::string, at::Tensor>;

class WriteSafetensorsTest : public testing::Test {
 protected:
  TempDir folder_;
  const std::filesystem::path path_ = folder_.path() / "model.safetensors";
};

TEST_F(WriteSafetensorsTest, EveryDtypeAndShapeComesBack) {
  Tensors tensors;
  for (const auto& [name, dtype] : {std::pair{"half", at::kHalf},
                                    {"bfloat", at::kBFloat16},
                                    {"float", at::kFloat},
                                    {"double", at::kDouble}}) {
    tensors[name] = at::arange(15, at::kDouble).reshape({3, 5}).mul(0.37).sub(2).to(dtype);
  }
  tensors["scalar"] = at::full({}, 7.5, at::kFloat);
  tensors["empty"] = at::empty({2, 0, 3}, at::kHalf);
  tensors["transposed"] = at::arange(6, at::kFloat).reshape({2, 3}).t();
  tensors["odd \"name\" ü"] = at::full({3}, 1, at::kHalf);
  ASSERT_TRUE(WriteSafetensors(path_, tensors, {{"format", "pt"}, {"ü", "\n"}}).ok());

  const auto file = SafetensorsFile::Open(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->header().metadata,
            (std::map<std::string, std::string>{{"format", "pt"}, {"ü", "\n"}}));
  ASSERT_EQ(file->header().tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const auto read = file->Get(name);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->scalar_type(), tensor.scalar_type()) << name;
    EXPECT_EQ(read->sizes(), tensor.sizes()) << name;
    EXPECT_TRUE(read->equal(tensor)) << name;
  }
}

TEST_F(WriteSafetensorsTest, EveryTensorIsAligned) {
  Tensors tensors;
  for (int size = 1; size <= 5; ++size) {
    tensors[absl::StrCat("a", size)] = at::full({size}, size, at::kHalf);
    tensors[absl::StrCat("b", size)] = at::full({size}, size, at::kDouble);
    tensors[absl::StrCat("c", size)] = at::full({size}, size, at::kFloat);
  }
  ASSERT_TRUE(WriteSafetensors(path_, tensors).ok());
  const auto file = SafetensorsFile::Open(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->header().data_offset % 8, 0u);
  for (const auto& [name, entry] : file->header().tensors) {
    EXPECT_EQ(entry.begin % tensors.at(name).element_size(), 0u) << name;
  }
}

TEST_F(WriteSafetensorsTest, TheSameTensorsGiveTheSameBytes) {
  const Tensors tensors = {{"b", at::arange(3, at::kFloat)}, {"a", at::arange(4, at::kHalf)}};
  ASSERT_TRUE(WriteSafetensors(path_, tensors, {{"k", "v"}}).ok());
  const std::string first = ReadFile(path_);
  ASSERT_TRUE(WriteSafetensors(path_, tensors, {{"k", "v"}}).ok());
  EXPECT_EQ(ReadFile(path_), first);
  const std::string header =
      R"({"__metadata__":{"k":"v"},"a":{"data_offsets":[12,20],"dtype":"F16","shape":[4]},)"
      R"("b":{"data_offsets":[0,12],"dtype":"F32","shape":[3]}})";
  EXPECT_EQ(first.substr(8, header.size()), header);
}

TEST_F(WriteSafetensorsTest, ReplacesTheFileAndLeavesOldMappingsAlone) {
  ASSERT_TRUE(WriteSafetensors(path_, {{"a", at::full({1000}, 1, at::kFloat)}}).ok());
  const at::Tensor old_tensor = *SafetensorsFile::Open(path_)->Get("a");
  ASSERT_TRUE(WriteSafetensors(path_, {{"a", at::full({1}, 2, at::kFloat)}}).ok());
  EXPECT_TRUE(old_tensor.equal(at::full({1000}, 1, at::kFloat)));
  EXPECT_TRUE(SafetensorsFile::Open(path_)->Get("a")->equal(at::full({1}, 2, at::kFloat)));
  // Nothing temporary stays behind.
  const std::filesystem::directory_iterator files(folder_.path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

TEST_F(WriteSafetensorsTest, RefusesWhatTheFormatOrTheReaderCannotHold) {
  ExpectStatus(WriteSafetensors(path_, {{"a", at::arange(3, at::kLong)}}), kInvalid,
               "tensor \"a\"");
  ExpectStatus(WriteSafetensors(path_, {{"a", at::Tensor()}}), kInvalid,
               "tensor \"a\" is undefined");
  ExpectStatus(WriteSafetensors(path_, {{"__metadata__", at::arange(3, at::kFloat)}}), kInvalid,
               "__metadata__");
  ExpectStatus(WriteSafetensors(path_, {{"\xff", at::arange(3, at::kFloat)}}), kInvalid, "UTF-8");
  ExpectStatus(WriteSafetensors(path_, {}, {{"a", "\xff"}}), kInvalid, "UTF-8");
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(WriteSafetensorsTest, AFailureLeavesTheOldFileAndNothingElse) {
  const absl::Status status = WriteSafetensors(folder_.path() / "none" / "a.safetensors", {});
  ExpectStatus(status, absl::StatusCode::kNotFound, "cannot create the file");
  EXPECT_THAT(std::string(status.message()),
              testing::Not(testing::HasSubstr(folder_.path().string())));
  // A folder in the place of the file: the rename fails.
  std::filesystem::create_directory(path_);
  EXPECT_FALSE(WriteSafetensors(path_, {}).ok());
  const std::filesystem::directory_iterator files(folder_.path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

}  // namespace
}  // namespace denoise
