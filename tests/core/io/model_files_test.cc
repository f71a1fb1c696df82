#include "core/io/model_files.h"

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <nlohmann/json.hpp>

#include "core/base/field_violations.h"
#include "core/files/atomic_folder.h"
#include "core/io/checkpoint.h"
#include "core/io/model_description.h"
#include "core/io/safetensors.h"
#include "tests/core/files/full_disk.h"
#include "tests/core/io/io_testing.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
const fs::path kReference = "tests/data/reference/unet";

std::vector<fs::path> Models() {
  std::vector<fs::path> models = {"deploy/models/emoji-32"};
  for (const auto& entry : fs::directory_iterator(kReference)) models.push_back(entry.path());
  return models;
}

class ModelFilesTest : public testing::Test {
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
  NetworkInput input{
      at::ones({1, spec.in_channels, spec.height, spec.width}), at::full({1}, 300, at::kFloat), {}};
  if (spec.num_class_embeds > 0) input.class_labels = at::ones({1}, at::kLong);
  return network.Forward(input);
}

TEST_F(ModelFilesTest, WhatIsWrittenComputesWhatWasRead) {
  ASSERT_EQ(Models().size(), 6u);
  for (const fs::path& source : Models()) {
    SCOPED_TRACE(source);
    const auto files = LoadModelFiles(source);
    ASSERT_TRUE(files.ok()) << files.status();
    EXPECT_EQ(files->model_index, ReadFile(source / "model_index.json"));
    for (const auto& [name, tensor] : files->weights) {
      EXPECT_EQ(tensor.scalar_type(), at::kFloat);
      EXPECT_EQ(name.find("query"), name.npos) << "an old name";
    }
    ASSERT_TRUE(WriteModelFiles(model_, *files).ok());
    const auto before = LoadCheckpoint(source, {}), after = LoadCheckpoint(model_, {});
    ASSERT_TRUE(after.ok()) << after.status();
    EXPECT_TRUE(ForwardOnes(*after->network).equal(ForwardOnes(*before->network)));
    EXPECT_EQ(after->id2label, before->id2label);
    EXPECT_EQ(after->source, before->source);
    // And once more: nothing changes any longer.
    const auto again = LoadModelFiles(model_);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->unet_config, files->unet_config);
    EXPECT_EQ(again->scheduler_config, files->scheduler_config);
    ASSERT_EQ(again->weights.size(), files->weights.size());
    for (const auto& [name, tensor] : files->weights) {
      EXPECT_TRUE(again->weights.at(name).equal(tensor)) << name;
    }
    EXPECT_EQ(EntriesOfParent(), 1);
    fs::remove_all(model_);
  }
}

TEST_F(ModelFilesTest, FilesKeepNoHoldOfTheFolder) {
  const fs::path source = kReference / "class-conditional-v";
  auto files = LoadModelFiles(source);
  ASSERT_TRUE(files.ok());
  ASSERT_TRUE(WriteModelFiles(model_, *files).ok());
  files = LoadModelFiles(model_);
  fs::resize_file(model_ / "unet/diffusion_pytorch_model.safetensors", 0);
  for (const auto& [name, tensor] : files->weights) tensor.sum();  // SIGBUS if they were a view
}

TEST_F(ModelFilesTest, WeightsAreWrittenInFloat32UnderTheNamesOfToday) {
  const fs::path source = kReference / "class-conditional-v";
  ModelFiles files = *LoadModelFiles(source);
  const StateDict expected = files.weights;
  files.weights.clear();
  int renamed = 0;
  for (const auto& [name, tensor] : expected) {
    std::string old_name = name;
    if (const size_t at = name.find("to_q."); at != name.npos) {
      old_name.replace(at, 4, "query");
      ++renamed;
    }
    files.weights[old_name] = tensor.to(at::kDouble);
  }
  ASSERT_GT(renamed, 0);
  ASSERT_TRUE(WriteModelFiles(model_, files).ok());
  const auto file = SafetensorsFile::Open(model_ / "unet/diffusion_pytorch_model.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->header().tensors.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    EXPECT_EQ(file->header().tensors.at(name).dtype, "F32");
    EXPECT_TRUE(file->Get(name)->equal(tensor)) << name;
  }
}

TEST_F(ModelFilesTest, AWeightThatAPrecisionCannotHoldIsNamedAndNothingWritten) {
  ModelFiles files = *LoadModelFiles(kReference / "class-conditional-v");
  at::Tensor& bias = files.weights.at("conv_in.bias");
  bias = at::full(bias.sizes(), 1e5);

  ExpectStatus(WriteModelFiles(model_, files, at::kHalf), absl::StatusCode::kFailedPrecondition,
               "conv_in.bias");

  EXPECT_EQ(EntriesOfParent(), 0);
  EXPECT_TRUE(WriteModelFiles(model_, files, at::kBFloat16).ok());
}

TEST_F(ModelFilesTest, AModelIsNeverOverwritten) {
  const auto files = LoadModelFiles(kReference / "class-conditional-v");
  ASSERT_TRUE(WriteModelFiles(model_, *files).ok());
  ExpectStatus(WriteModelFiles(model_, *files), absl::StatusCode::kAlreadyExists, "");
  fs::create_directory(folder_.path() / "empty");
  ExpectStatus(WriteModelFiles(folder_.path() / "empty", *files), absl::StatusCode::kAlreadyExists,
               "");
  EXPECT_EQ(EntriesOfParent(), 2);
}

TEST_F(ModelFilesTest, WhatCouldNotBeLoadedIsNotWritten) {
  const auto good = LoadModelFiles(kReference / "class-conditional-v");
  const auto expect_refused = [&](const ModelFiles& files, const std::string& message) {
    ExpectStatus(WriteModelFiles(model_, files), kInvalid, message);
    EXPECT_EQ(EntriesOfParent(), 0);
  };
  ModelFiles files = *good;
  files.weights.erase("conv_in.bias");
  expect_refused(files, "unet/diffusion_pytorch_model.safetensors: conv_in.bias");
  files = *good;
  files.scheduler_config = R"({"_class_name": "DDIMScheduler"})";
  expect_refused(files, "scheduler/scheduler_config.json: _class_name");
  files = *good;
  files.model_index = "{";
  expect_refused(files, "model_index.json: ");
}

TEST_F(ModelFilesTest, AFullDiskLeavesNothing) {
  const auto files = LoadModelFiles(kReference / "class-conditional-v");
  absl::Status status;
  {
    const FullDisk full(100'000, FullDisk::Then::kError);  // within the weights
    status = WriteModelFiles(model_, *files);
  }
  ExpectStatus(status, absl::StatusCode::kResourceExhausted, "unet/diffusion_pytorch_model");
  EXPECT_THAT(std::string(status.message()),
              testing::Not(testing::HasSubstr(folder_.path().string())));
  EXPECT_EQ(EntriesOfParent(), 0);
}

TEST(WriteModelFilesDeathTest, AKilledWriterLeavesNoModel) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const fs::path parent = "build/write_model_files_test";  // the same in the other process
  fs::remove_all(parent);
  fs::create_directories(parent);
  const auto write = [&] {
    const auto files = LoadModelFiles(kReference / "class-conditional-v");
    const FullDisk full(100'000, FullDisk::Then::kKill);
    (void)WriteModelFiles(parent / "model", *files);
  };
  EXPECT_EXIT(write(), testing::KilledBySignal(SIGXFSZ), "");
  EXPECT_FALSE(fs::exists(parent / "model"));
  EXPECT_FALSE(fs::is_empty(parent));
  EXPECT_TRUE(RemoveUnfinishedFolders(parent).ok());
  EXPECT_TRUE(fs::is_empty(parent));
  fs::remove_all(parent);
}

TEST(DescribeModel, SaysWhatTheTextsMean) {
  const auto files = LoadModelFiles("deploy/models/emoji-32");
  const auto description = DescribeModel(*files);
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_EQ(description->unet.height, 32);
  EXPECT_EQ(description->id2label.at(7), "symbols");
  EXPECT_EQ(description->null_class_label, 8);
  EXPECT_EQ(description->scheduler.class_name, "DDPMScheduler");
}

TEST(DescribeModel, ErrorsNameTheFileAndTheField) {
  ModelFiles files = *LoadModelFiles("deploy/models/emoji-32");
  json index = json::parse(files.model_index);
  index["null_class_label"] = 9;
  files.model_index = index.dump();
  const absl::Status status = DescribeModel(files).status();
  ExpectStatus(status, kInvalid, "model_index.json: null_class_label: labels are 0 to 8");
  EXPECT_EQ(GetFieldViolations(status).front().field, "null_class_label");
}

}  // namespace
}  // namespace denoise
