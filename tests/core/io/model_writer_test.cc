#include "core/io/model_writer.h"

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include "core/files/atomic_folder.h"
#include "core/io/checkpoint.h"
#include "core/io/safetensors.h"
#include "tests/core/files/full_disk.h"
#include "tests/core/io/io_testing.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
const fs::path kReference = "tests/data/reference/unet";

std::vector<fs::path> Models() {
  std::vector<fs::path> models = {"deploy/models/emoji-32"};
  for (const auto& entry : fs::directory_iterator(kReference)) models.push_back(entry.path());
  return models;
}

ParsedModel Reference() { return *ParsedModel::Open(kReference / "class-conditional-v"); }

class ModelWriterTest : public testing::Test {
 protected:
  int64_t EntriesOfParent() const {
    const fs::directory_iterator entries(folder_.path());
    return std::distance(begin(entries), end(entries));
  }

  TempDir folder_;
  const fs::path model_ = folder_.path() / "model";
};

at::Tensor ForwardOnes(const Network& network) {
  const NetworkSpec& spec = network.spec();
  NetworkInput input{at::ones({1, spec.sample.channels, spec.sample.height, spec.sample.width}),
                     at::full({1}, 300, at::kFloat),
                     {}};
  if (spec.num_class_embeds > 0) input.conditions.class_labels = at::ones({1}, at::kLong);
  return network.Forward(input);
}

TEST_F(ModelWriterTest, WhatIsWrittenComputesWhatWasRead) {
  ASSERT_EQ(Models().size(), 6u);
  for (const fs::path& source : Models()) {
    SCOPED_TRACE(source);
    const auto model = ParsedModel::Open(source);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->texts().model_index, ReadFile(source / "model_index.json"));
    const StateDict weights = *model->LoadWeights();
    for (const auto& [name, tensor] : weights) {
      EXPECT_EQ(tensor.scalar_type(), at::kFloat);
      EXPECT_EQ(name.find("query"), name.npos) << "an old name";
    }
    ASSERT_TRUE(WriteModel(model_, *model).ok());
    const auto before = LoadCheckpoint(source, {}), after = LoadCheckpoint(model_, {});
    ASSERT_TRUE(after.ok()) << after.status();
    EXPECT_TRUE(ForwardOnes(*after->network).equal(ForwardOnes(*before->network)));
    EXPECT_EQ(after->id2label, before->id2label);
    EXPECT_EQ(after->source, before->source);
    // And once more: nothing changes any longer.
    const auto again = ParsedModel::Open(model_);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->texts().unet_config, model->texts().unet_config);
    EXPECT_EQ(again->texts().scheduler_config, model->texts().scheduler_config);
    const StateDict weights_again = *again->LoadWeights();
    ASSERT_EQ(weights_again.size(), weights.size());
    for (const auto& [name, tensor] : weights) {
      EXPECT_TRUE(weights_again.at(name).equal(tensor)) << name;
    }
    EXPECT_EQ(EntriesOfParent(), 1);
    fs::remove_all(model_);
  }
}

TEST_F(ModelWriterTest, WeightsAreWrittenInFloat32UnderTheNamesOfToday) {
  const fs::path source = kReference / "class-conditional-v";
  ParsedModel model = *ParsedModel::Open(source);
  const StateDict expected = *model.LoadWeights();
  StateDict given;
  int renamed = 0;
  for (const auto& [name, tensor] : expected) {
    std::string old_name = name;
    if (const size_t at = name.find("to_q."); at != name.npos) {
      old_name.replace(at, 4, "query");
      ++renamed;
    }
    given[old_name] = tensor.to(at::kDouble);
  }
  ASSERT_GT(renamed, 0);
  model.SetWeights(given);
  ASSERT_TRUE(WriteModel(model_, model).ok());
  const auto file = SafetensorsFile::Open(model_ / "unet/diffusion_pytorch_model.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->header().tensors.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    EXPECT_EQ(file->header().tensors.at(name).dtype, "F32");
    EXPECT_TRUE(file->Get(name)->equal(tensor)) << name;
  }
}

TEST_F(ModelWriterTest, AWeightThatAPrecisionCannotHoldIsNamedAndNothingWritten) {
  ParsedModel model = Reference();
  StateDict weights = *model.LoadWeights();
  at::Tensor& bias = weights.at("conv_in.bias");
  bias = at::full(bias.sizes(), 1e5);
  model.SetWeights(weights);

  ExpectStatus(WriteModel(model_, model, at::kHalf), absl::StatusCode::kFailedPrecondition,
               "conv_in.bias");

  EXPECT_EQ(EntriesOfParent(), 0);
  EXPECT_TRUE(WriteModel(model_, model, at::kBFloat16).ok());
}

TEST_F(ModelWriterTest, AModelIsNeverOverwritten) {
  const ParsedModel model = Reference();
  ASSERT_TRUE(WriteModel(model_, model).ok());
  ExpectStatus(WriteModel(model_, model), absl::StatusCode::kAlreadyExists, "");
  fs::create_directory(folder_.path() / "empty");
  ExpectStatus(WriteModel(folder_.path() / "empty", model), absl::StatusCode::kAlreadyExists, "");
  EXPECT_EQ(EntriesOfParent(), 2);
}

TEST_F(ModelWriterTest, WhatCouldNotBeLoadedIsNotWritten) {
  ParsedModel model = Reference();
  StateDict weights = *model.LoadWeights();
  weights.erase("conv_in.bias");
  model.SetWeights(weights);
  ExpectStatus(WriteModel(model_, model), kInvalid,
               "unet/diffusion_pytorch_model.safetensors: conv_in.bias");
  model.SetWeights({});
  ExpectStatus(WriteModel(model_, model), kInvalid, "unet/diffusion_pytorch_model.safetensors: ");
  EXPECT_EQ(EntriesOfParent(), 0);
}

TEST_F(ModelWriterTest, AFullDiskLeavesNothing) {
  const ParsedModel model = Reference();
  absl::Status status;
  {
    const FullDisk full(100'000, FullDisk::Then::kError);  // within the weights
    status = WriteModel(model_, model);
  }
  ExpectStatus(status, absl::StatusCode::kResourceExhausted, "unet/diffusion_pytorch_model");
  EXPECT_THAT(std::string(status.message()),
              testing::Not(testing::HasSubstr(folder_.path().string())));
  EXPECT_EQ(EntriesOfParent(), 0);
}

TEST(ModelWriterDeathTest, AKilledWriterLeavesNoModel) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const fs::path parent = "build/model_writer_test";  // the same in the other process
  fs::remove_all(parent);
  fs::create_directories(parent);
  const auto write = [&] {
    const ParsedModel model = Reference();
    const FullDisk full(100'000, FullDisk::Then::kKill);
    (void)WriteModel(parent / "model", model);
  };
  EXPECT_EXIT(write(), testing::KilledBySignal(SIGXFSZ), "");
  EXPECT_FALSE(fs::exists(parent / "model"));
  EXPECT_FALSE(fs::is_empty(parent));
  EXPECT_TRUE(RemoveUnfinishedFolders(parent).ok());
  EXPECT_TRUE(fs::is_empty(parent));
  fs::remove_all(parent);
}

}  // namespace
}  // namespace denoise
