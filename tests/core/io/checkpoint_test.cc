#include "core/io/checkpoint.h"

#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/io/safetensors.h"
#include "tests/core/io/io_testing.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kNotFound = absl::StatusCode::kNotFound;
const fs::path kReference = "tests/data/reference/unet";

absl::StatusOr<Checkpoint> Load(const fs::path& folder) {
  return LoadCheckpoint(folder, UNet2DOptions());
}

TEST(LoadCheckpoint, ReadsEveryReferenceCheckpoint) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(kReference)) {
    const auto checkpoint = Load(entry.path());
    ASSERT_TRUE(checkpoint.ok()) << entry.path() << ": " << checkpoint.status();
    const fs::path unet = fs::exists(entry.path() / "unet") ? entry.path() / "unet" : entry.path();
    const json config = json::parse(ReadFile(unet / "config.json"));
    const NetworkSpec& spec = checkpoint->network->spec();
    EXPECT_EQ(spec.sample.channels, config["in_channels"]);
    EXPECT_EQ(spec.out_channels, config["out_channels"]);
    EXPECT_EQ(spec.num_class_embeds,
              config["num_class_embeds"].is_null() ? json(0) : config["num_class_embeds"]);
    EXPECT_EQ(checkpoint->network->dtype(), at::kFloat);
    EXPECT_TRUE(checkpoint->network->device().is_cpu());
    EXPECT_EQ(checkpoint->source, "DDPMPipeline / UNet2DModel, diffusers 0.40.0");
    EXPECT_EQ(checkpoint->version.size(), 32u);
    EXPECT_EQ(checkpoint->version.find_first_not_of("0123456789abcdef"), std::string::npos);
    ++count;
  }
  EXPECT_EQ(count, 5);
}

TEST(LoadCheckpoint, ReadsTheStarterModelWithItsClasses) {
  const auto checkpoint = Load("deploy/models/emoji-32");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const NetworkSpec& spec = checkpoint->network->spec();
  EXPECT_EQ(spec.num_class_embeds, 9);
  EXPECT_EQ(spec.sample.height, 32);
  EXPECT_EQ(spec.sample.width, 32);
  EXPECT_GT(spec.num_parameters, 5'800'000);
  EXPECT_LT(spec.num_parameters, 6'000'000);
  ASSERT_EQ(checkpoint->id2label.size(), 8u);
  EXPECT_EQ(checkpoint->id2label.at(0), "smileys");
  EXPECT_EQ(checkpoint->id2label.at(7), "symbols");
  EXPECT_EQ(checkpoint->null_class_label, 8);
  EXPECT_EQ(checkpoint->scheduler.sampler.prediction_type, PredictionType::kVPrediction);
  EXPECT_EQ(std::get<VpOptions>(checkpoint->scheduler.schedule).beta_schedule,
            BetaSchedule::kSquaredCosCapV2);
}

// A copy of a reference checkpoint, to be broken.
class BrokenCheckpointTest : public testing::Test {
 protected:
  explicit BrokenCheckpointTest(const char* name = "class-conditional-v") {
    fs::create_directories(model_);
    fs::copy(kReference / name, model_, fs::copy_options::recursive);
    for (const auto& entry : fs::recursive_directory_iterator(model_)) {
      fs::permissions(entry.path(), fs::perms::owner_write, fs::perm_options::add);
    }
  }

  void Edit(const std::string& file, const std::function<void(json&)>& edit) {
    json document = json::parse(ReadFile(model_ / file));
    edit(document);
    WriteFile(model_ / file, document.dump());
  }

  void EditWeights(const std::function<void(std::map<std::string, at::Tensor>&)>& edit) {
    const auto file = SafetensorsFile::Open(model_ / kWeights);
    ASSERT_TRUE(file.ok()) << file.status();
    std::map<std::string, at::Tensor> tensors;
    for (const auto& [name, unused] : file->header().tensors) tensors[name] = *file->Get(name);
    edit(tensors);
    ASSERT_TRUE(WriteSafetensors(model_ / kWeights, tensors).ok());
  }

  void ExpectRefused(absl::StatusCode code, const std::string& file, const std::string& message) {
    const absl::Status status = Load(model_).status();
    ExpectStatus(status, code, message);
    EXPECT_THAT(std::string(status.message()), testing::StartsWith(file + ": "));
    EXPECT_THAT(std::string(status.message()),
                testing::Not(testing::HasSubstr(folder_.path().string())));
  }

  static constexpr char kIndex[] = "model_index.json";
  static constexpr char kUnet[] = "unet/config.json";
  static constexpr char kScheduler[] = "scheduler/scheduler_config.json";
  static constexpr char kWeights[] = "unet/diffusion_pytorch_model.safetensors";

  TempDir folder_;
  const fs::path model_ = folder_.path() / "model";
};

TEST_F(BrokenCheckpointTest, StillWorksBeforeItIsBroken) { EXPECT_TRUE(Load(model_).ok()); }

TEST_F(BrokenCheckpointTest, VersionFollowsConfigurationAndWeights) {
  const std::string version = Load(model_)->version;
  EXPECT_EQ(Load(model_)->version, version);
  Edit(kScheduler, [](json& scheduler) { scheduler["beta_end"] = 0.03; });
  const std::string second = Load(model_)->version;
  EXPECT_NE(second, version);
  EditWeights([](auto& weights) { weights["conv_in.bias"] = weights["conv_in.bias"].add(1); });
  EXPECT_NE(Load(model_)->version, second);
}

TEST_F(BrokenCheckpointTest, NetworksDoNotReferToTheFilesAfterwards) {
  EditWeights([](auto& weights) {
    for (auto& [name, tensor] : weights) tensor = tensor.to(at::kFloat);  // no conversion, no copy?
  });
  const auto checkpoint = Load(model_);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  fs::resize_file(model_ / kWeights, 0);  // SIGBUS for whoever still reads the mapping
  NetworkInput input{at::zeros({1, 3, 16, 16}),
                     at::full({1}, 10, at::kFloat),
                     {.class_labels = at::zeros({1}, at::kLong)}};
  EXPECT_TRUE(checkpoint->network->Forward(input).isfinite().all().item<bool>());
}

TEST_F(BrokenCheckpointTest, ShardsMakeTheSameNetworkAsOneFile) {
  const NetworkInput input{at::ones({2, 3, 16, 16}),
                           at::full({2}, 10, at::kFloat),
                           {.class_labels = at::ones({2}, at::kLong)}};
  const at::Tensor whole = Load(model_)->network->Forward(input);
  json weight_map;
  std::map<std::string, at::Tensor> shards[2];
  EditWeights([&](auto& weights) {
    for (const auto& [name, tensor] : weights) {
      const size_t shard = weight_map.size() % 2;
      shards[shard][name] = tensor.clone();
      weight_map[name] = shard == 0 ? "even.safetensors" : "odd.safetensors";
    }
  });
  ASSERT_TRUE(WriteSafetensors(model_ / "unet/even.safetensors", shards[0]).ok());
  ASSERT_TRUE(WriteSafetensors(model_ / "unet/odd.safetensors", shards[1]).ok());
  fs::remove(model_ / kWeights);
  WriteFile(model_ / "unet/diffusion_pytorch_model.safetensors.index.json",
            json{{"weight_map", weight_map}}.dump());
  const auto sharded = Load(model_);
  ASSERT_TRUE(sharded.ok()) << sharded.status();
  EXPECT_TRUE(sharded->network->Forward(input).equal(whole));

  // Every byte of every shard counts.
  const std::string version = sharded->version;
  EXPECT_EQ(Load(model_)->version, version);
  at::Tensor& last = shards[1].rbegin()->second;
  last = last.add(1);
  ASSERT_TRUE(WriteSafetensors(model_ / "unet/odd.safetensors", shards[1]).ok());
  EXPECT_NE(Load(model_)->version, version);
}

TEST_F(BrokenCheckpointTest, MissingFilesAreNamed) {
  for (const char* file : {kWeights, kScheduler, kUnet, kIndex}) {
    fs::remove(model_ / file);
    ExpectRefused(kNotFound, file, "");
  }
  ExpectStatus(Load(folder_.path() / "none").status(), kNotFound, "no such model folder");
  ExpectStatus(Load(kReference / "learned-range" / "expected.json").status(), kNotFound,
               "no such model folder");
}

TEST_F(BrokenCheckpointTest, BrokenJsonIsNamed) {
  for (const char* file : {kScheduler, kUnet, kIndex}) {
    const std::string good = ReadFile(model_ / file);
    for (const char* text : {"", "{", "[]", "{\"a\": 1, \"a\": 1}", "\x80\x02junk"}) {
      WriteFile(model_ / file, text);
      ExpectRefused(kInvalid, file, "");
    }
    WriteFile(model_ / file, std::string((1 << 20) + 1, ' '));
    ExpectRefused(kInvalid, file, "at most 1048576 are allowed");
    fs::remove(model_ / file);
    fs::create_directory(model_ / file);
    ExpectRefused(kInvalid, file, "not a regular file");
    fs::remove(model_ / file);
    WriteFile(model_ / file, good);
  }
}

// The case is M1 and M2.
TEST_F(BrokenCheckpointTest, IgnoredKeysAreNamedByFile) {
  EXPECT_THAT(Load(model_)->ignored_keys, testing::IsEmpty());
  Edit(kIndex, [](json& index) { index["requires_safety_checker"] = false; });
  Edit(kUnet, [](json& unet) {
    unet["decay"] = 0.9999;
    unet["power"] = 0.75;
  });
  Edit(kScheduler, [](json& scheduler) { scheduler["tensor_format"] = "pt"; });
  const auto checkpoint = Load(model_);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT(checkpoint->ignored_keys,
              testing::ElementsAre("model_index.json: requires_safety_checker",
                                   "unet/config.json: decay, power",
                                   "scheduler/scheduler_config.json: tensor_format"));
}

struct ForeignFile {
  const char* code;
  std::string bytes;
  const char* told;
};

TEST_F(BrokenCheckpointTest, FilesOfOtherKindsAreToldAsWhatTheyAre) {
  using std::string_literals::operator""s;
  const ForeignFile files[] = {
      {"M4", ReadFile("tests/data/models/lfs-pointer.safetensors"), "is a Git LFS pointer"},
      {"M4", "/annex/objects/SHA256E-s11741142--00.safetensors\n", "is a git-annex pointer"},
      {"M4", "\n <!DOCTYPE html>\n<html><body>404</body></html>", "is an HTML page"},
      {"M4", "<HTML><head><title>Sign in</title></head></HTML>", "is an HTML page"},
      {"M4", "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "is an XML"},
      {"M4", "PK\x03\x04\x14\0\0\0\0\0archive/data.pkl"s, "is a zip archive, as torch.save"},
      {"M4", "\x80\x02}q\0X"s, "is a Python pickle"},
      {"M4", "\x1f\x8b\x08\0\0\0\0\0\0\3"s, "is compressed by gzip"},
      {"M4", "\x89HDF\r\n\x1a\n\0\0"s, "is an HDF5 file"},
      {"M4", "\x89PNG\r\n\x1a\n\0\0\0\rIHDR"s, "is a PNG picture"},
      {"M4", std::string(10000, '\0'), "begins with zeros only"},
      {"M4", "", "is empty"},
  };
  for (const char* file : {kWeights, kScheduler, kUnet, kIndex}) {
    const std::string good = ReadFile(model_ / file);
    for (const ForeignFile& foreign : files) {
      SCOPED_TRACE(std::string(foreign.code) + ": " + file);
      WriteFile(model_ / file, foreign.bytes);
      ExpectRefused(kInvalid, file, foreign.told);
    }
    WriteFile(model_ / file, good);
  }
  WriteFile(model_ / kWeights, R"({"error": "Repository not found"})");
  ExpectRefused(kInvalid, kWeights, "is JSON text, not weights");
}

TEST_F(BrokenCheckpointTest, TruncatedWeightsAreToldAsSuch) {
  const std::string bytes = ReadFile(model_ / kWeights);
  for (size_t size : {size_t{1000}, bytes.size() / 2, bytes.size() - 1}) {
    WriteFile(model_ / kWeights, bytes.substr(0, size));
    ExpectRefused(kInvalid, kWeights, "the file is truncated, copy or download it again");
  }
}

struct Wrapped {
  const char* code;
  std::string prefix;
};

TEST_F(BrokenCheckpointTest, WeightsOfWrappedNetworksAreRead) {
  const NetworkInput input{at::ones({1, 3, 16, 16}),
                           at::full({1}, 10, at::kFloat),
                           {.class_labels = at::ones({1}, at::kLong)}};
  const at::Tensor expected = Load(model_)->network->Forward(input);
  const std::string good = ReadFile(model_ / kWeights);
  for (const Wrapped& wrapped :
       {Wrapped{"M3", "_orig_mod."}, Wrapped{"M3", "module."}, Wrapped{"M3", "module._orig_mod."},
        Wrapped{"M3", "unet."}, Wrapped{"M3", "model.diffusion_model."}, Wrapped{"M3", "net."}}) {
    WriteFile(model_ / kWeights, good);
    EditWeights([&](auto& weights) {
      std::map<std::string, at::Tensor> renamed;
      for (const auto& [name, tensor] : weights) renamed[wrapped.prefix + name] = tensor.clone();
      weights = renamed;
    });
    const auto checkpoint = Load(model_);
    ASSERT_TRUE(checkpoint.ok()) << wrapped.code << ": " << checkpoint.status();
    EXPECT_TRUE(checkpoint->network->Forward(input).equal(expected)) << wrapped.prefix;
    EXPECT_TRUE(ParsedModel::Open(model_)->LoadWeights().ok()) << wrapped.prefix;
  }
}

// The case is M3, where not every name has the prefix.
TEST_F(BrokenCheckpointTest, APrefixOfMissingNamesIsNamedFirst) {
  EditWeights([&](auto& weights) {
    std::map<std::string, at::Tensor> renamed = {{"loss.weight", at::ones({1})}};
    for (const auto& [name, tensor] : weights) renamed["unet." + name] = tensor.clone();
    weights = renamed;
  });
  const absl::Status status = Load(model_).status();
  EXPECT_THAT(std::string(status.message()),
              testing::StartsWith(std::string(kWeights) + ": unet.: stands before "));
  EXPECT_THAT(std::string(status.message()),
              testing::HasSubstr("unet.conv_in.bias: is unexpected"));
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("is missing"));
}

struct NonFinite {
  const char* code;
  const char* tensor;
  at::ScalarType dtype;
  double value;
};

TEST_F(BrokenCheckpointTest, WeightsThatAreNotFiniteAreNamed) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::string good = ReadFile(model_ / kWeights);
  for (const NonFinite& c : {NonFinite{"M7", "class_embedding.weight", at::kFloat, std::nan("")},
                             NonFinite{"M7", "conv_in.bias", at::kFloat, kInfinity},
                             NonFinite{"M7", "conv_out.weight", at::kHalf, -kInfinity},
                             NonFinite{"M7", "conv_out.bias", at::kBFloat16, std::nan("")},
                             NonFinite{"M7", "conv_norm_out.weight", at::kDouble, 1e300}}) {
    WriteFile(model_ / kWeights, good);
    EditWeights([&](auto& weights) {
      at::Tensor tensor = weights[c.tensor].to(c.dtype).clone();
      tensor.view({-1})[1].fill_(c.value);
      weights[c.tensor] = tensor;
    });
    SCOPED_TRACE(c.code);
    ExpectRefused(kInvalid, kWeights, std::string(c.tensor) + ": has 1 of ");
    EXPECT_THAT(std::string(ParsedModel::Open(model_)->LoadWeights().status().message()),
                testing::HasSubstr(c.tensor));
  }
}

TEST_F(BrokenCheckpointTest, ComponentsThatCannotRunAreNamed) {
  Edit(kIndex, [](json& index) { index["vae"] = {"diffusers", "AutoencoderKL"}; });
  ExpectRefused(kInvalid, kIndex, "\"vae\": pipelines with this component are not supported");
}

TEST_F(BrokenCheckpointTest, ReadsTheNoiseSchedulesOfOtherFamilies) {
  const auto load_with = [&](const json& scheduler) {
    Edit(kIndex, [&](json& index) { index["scheduler"][1] = scheduler["_class_name"]; });
    WriteFile(model_ / kScheduler, scheduler.dump());
    return Load(model_);
  };
  const auto edm = load_with({{"_class_name", "EDMEulerScheduler"}, {"sigma_max", 50}});
  ASSERT_TRUE(edm.ok()) << edm.status();
  EXPECT_EQ(edm->scheduler.sampler.sigma_max, 50);
  const auto consistency = load_with({{"_class_name", "CMStochasticIterativeScheduler"}});
  ASSERT_TRUE(consistency.ok()) << consistency.status();
  EXPECT_EQ(consistency->scheduler.sampler.sampler, SamplerKind::kConsistency);
  const auto flow = load_with({{"_class_name", "FlowMatchEulerDiscreteScheduler"},
                               {"use_dynamic_shifting", true},
                               {"base_image_seq_len", 0},
                               {"max_image_seq_len", 512},
                               {"base_shift", 0},
                               {"max_shift", 2}});
  ASSERT_TRUE(flow.ok()) << flow.status();
  EXPECT_NEAR(flow->scheduler.sampler.flow_shift, std::exp(1), 1e-12);  // of 16 x 16 pixels
}

TEST_F(BrokenCheckpointTest, FourierEmbeddingsHaveNoLogarithmOfTimestepsBelowZero) {
  Edit(kIndex, [](json& index) { index["scheduler"][1] = "EDMEulerScheduler"; });
  WriteFile(model_ / kScheduler, R"({"_class_name": "EDMEulerScheduler"})");
  Edit(kUnet, [](json& unet) { unet["time_embedding_type"] = "fourier"; });
  ExpectRefused(kInvalid, kUnet, "time_embedding_type");
}

// As the library saves a solver's config: an infinite default, which JSON has no word for, and keys
// of the class that the config was made from.
TEST_F(BrokenCheckpointTest, ReadsASolversConfigAsTheLibraryWritesIt) {
  Edit(kIndex, [](json& index) { index["scheduler"][1] = "DPMSolverMultistepScheduler"; });
  WriteFile(model_ / kScheduler,
            R"({"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity,
                "clip_sample": false, "skip_prk_steps": true, "set_alpha_to_one": false})");
  const auto checkpoint = Load(model_);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->scheduler.sampler.sampler, SamplerKind::kDpmSolverPlusPlus);
}

TEST_F(BrokenCheckpointTest, TheIndexNamesTheSchedulerAndMustNameAKnownOne) {
  Edit(kIndex, [](json& index) { index["scheduler"] = {"diffusers", "DDIMScheduler"}; });
  const auto checkpoint = Load(model_);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->scheduler.sampler.sampler, SamplerKind::kDdim);
  EXPECT_EQ(checkpoint->scheduler.class_name, "DDIMScheduler");
  Edit(kIndex, [](json& index) { index["scheduler"] = {"mine", "MyScheduler"}; });
  ExpectRefused(kInvalid, kIndex, "scheduler: must be one of");
}

TEST_F(BrokenCheckpointTest, LabelsAreHeldAgainstTheNetwork) {
  Edit(kIndex, [](json& index) { index["id2label"] = {{"5", "last"}, {"6", "one too many"}}; });
  ExpectRefused(kInvalid, kIndex, "id2label.6: labels are 0 to 5");
  Edit(kIndex, [](json& index) {
    index["id2label"] = {{"5", "last"}};
    index["null_class_label"] = 6;
  });
  ExpectRefused(kInvalid, kIndex, "null_class_label: labels are 0 to 5");
}

TEST_F(BrokenCheckpointTest, SchedulersThatMakeNoScheduleAreRefused) {
  Edit(kScheduler, [](json& scheduler) { scheduler["trained_betas"] = {0.1, 2.0}; });
  ExpectRefused(kInvalid, kScheduler, "trained_betas");
}

TEST_F(BrokenCheckpointTest, LearnedVarianceTakesTwiceTheChannels) {
  Edit(kScheduler, [](json& scheduler) { scheduler["variance_type"] = "learned_range"; });
  ExpectRefused(kInvalid, kUnet, "out_channels: must be twice in_channels");
}

class BrokenLearnedRangeTest : public BrokenCheckpointTest {
 protected:
  BrokenLearnedRangeTest() : BrokenCheckpointTest("learned-range") {}
};

TEST_F(BrokenLearnedRangeTest, TwiceTheChannelsTakeALearnedVariance) {
  Edit(kScheduler, [](json& scheduler) { scheduler["variance_type"] = "fixed_small"; });
  ExpectRefused(kInvalid, kUnet, "out_channels: is twice in_channels");
  // DDIM has no choice of variance and reads the first half.
  Edit(kIndex, [](json& index) { index["scheduler"][1] = "DDIMScheduler"; });
  WriteFile(model_ / kScheduler, R"({"_class_name": "DDIMScheduler"})");
  EXPECT_TRUE(Load(model_).ok()) << Load(model_).status();
}

TEST_F(BrokenCheckpointTest, MissingExtraAndMisshapenTensorsAreNamed) {
  const at::Tensor bias = [&] {
    at::Tensor copy;
    EditWeights([&](auto& weights) {
      copy = weights["conv_in.bias"].clone();
      weights.erase("conv_in.bias");
    });
    return copy;
  }();
  ExpectRefused(kInvalid, kWeights, "conv_in.bias");
  EditWeights([&](auto& weights) { weights["conv_in.bias"] = bias.unsqueeze(0); });
  ExpectRefused(kInvalid, kWeights, "conv_in.bias");
  EditWeights([&](auto& weights) {
    weights["conv_in.bias"] = bias;
    weights["surplus.weight"] = bias;
  });
  ExpectRefused(kInvalid, kWeights, "surplus.weight");
}

TEST_F(BrokenCheckpointTest, EveryDtypeOfWeightsIsReadAsFloat) {
  for (at::ScalarType dtype : {at::kHalf, at::kBFloat16, at::kDouble, at::kFloat}) {
    EditWeights([&](auto& weights) {
      for (auto& [name, tensor] : weights) tensor = tensor.to(dtype);
    });
    const auto checkpoint = Load(model_);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_EQ(checkpoint->network->dtype(), at::kFloat);
  }
}

TEST_F(BrokenCheckpointTest, TruncatedAndOverlappingWeightsAreRefused) {
  const std::string bytes = ReadFile(model_ / kWeights);
  for (size_t size :
       {size_t{0}, size_t{7}, size_t{8}, size_t{1000}, bytes.size() / 2, bytes.size() - 1}) {
    WriteFile(model_ / kWeights, bytes.substr(0, size));
    ExpectRefused(kInvalid, kWeights, "");
  }
  WriteFile(model_ / kWeights,
            SafetensorsBytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                             R"("b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                             "1234"));
  ExpectRefused(kInvalid, kWeights, "tensor \"b\" overlaps \"a\"");
}

TEST_F(BrokenCheckpointTest, ShardsDoNotEscapeTheFolder) {
  fs::rename(model_ / kWeights, folder_.path() / "model.safetensors");
  WriteFile(model_ / "unet/diffusion_pytorch_model.safetensors.index.json",
            R"({"weight_map": {"conv_in.bias": "../../model.safetensors"}})");
  ExpectRefused(kInvalid, "unet/diffusion_pytorch_model.safetensors.index.json",
                "\"../../model.safetensors\", which is not a plain name");
}

TEST_F(BrokenCheckpointTest, LinksAreFollowedAsCachesOfModelsNeedThem) {
  fs::rename(model_ / kWeights, folder_.path() / "blob");
  fs::create_symlink("../../blob", model_ / kWeights);
  EXPECT_TRUE(Load(model_).ok()) << Load(model_).status();
  fs::remove(folder_.path() / "blob");
  ExpectRefused(kNotFound, kWeights, "is a link whose target does not exist");
  fs::remove(model_ / kWeights);
  fs::create_symlink("/dev/zero", model_ / kWeights);
  ExpectRefused(kInvalid, kWeights, "not a regular file");
  for (const char* file : {kUnet, kIndex}) {
    fs::remove(model_ / file);
    fs::create_symlink("../blobs/none", model_ / file);
    ExpectRefused(kNotFound, file, "is a link whose target does not exist");
  }
}

}  // namespace
}  // namespace denoise
