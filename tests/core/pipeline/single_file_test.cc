// Single files in the original layout: the same model as the folder beside them.
#include "core/pipeline/single_file.h"

#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include "core/io/model_folder.h"
#include "core/io/safetensors.h"
#include "core/io/weights.h"
#include "core/pipeline/parsed_pipeline.h"
#include "core/pipeline/pipeline_writer.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::HasSubstr;
using testing::Key;
using testing::Not;

const fs::path kRoot = "tests/data/pipelines";

std::vector<std::string> Names() { return {"sd15-like", "sd21-v-like", "sdxl-like"}; }

fs::path FileOf(const std::string& name) { return kRoot / (name + ".safetensors"); }

// Old folders call the VAE's attention by other names, and the first part of all names of a text
// encoder is left out when its file is read.
std::string PlainName(std::string name) {
  constexpr std::pair<std::string_view, std::string_view> kRenamed[] = {
      {".query.", ".to_q."},
      {".key.", ".to_k."},
      {".value.", ".to_v."},
      {".proj_attn.", ".to_out.0."}};
  for (const auto& [old, now] : kRenamed) {
    if (const size_t at = name.find(old); at != std::string::npos) {
      name.replace(at, old.size(), now);
    }
  }
  constexpr std::string_view kText = "text_model.";
  return name.starts_with(kText) ? name.substr(kText.size()) : name;
}

StateDict WithPlainNames(const StateDict& tensors) {
  StateDict plain;
  for (const auto& [name, tensor] : tensors) plain[PlainName(name)] = tensor;
  EXPECT_EQ(plain.size(), tensors.size());
  return plain;
}

// Checks that `other` holds the tensors of `expected`, rounded to float16.
void ExpectSameWeights(const StoredTensors& expected, const StoredTensors& other) {
  const StateDict tensors = WithPlainNames(ReadAll(expected).value());
  const StateDict others = WithPlainNames(ReadAll(other).value());
  EXPECT_EQ(tensors.size(), others.size());
  for (const auto& [name, tensor] : tensors) {
    ASSERT_TRUE(others.contains(name)) << name;
    const at::Tensor& found = others.at(name);
    EXPECT_EQ(found.scalar_type(), at::kHalf) << name;
    ASSERT_EQ(tensor.numel(), found.numel()) << name;
    EXPECT_TRUE(at::equal(tensor.to(at::kHalf), found.reshape(tensor.sizes()))) << name;
  }
}

class SingleFiles : public testing::TestWithParam<std::string> {};

TEST_P(SingleFiles, HoldTheWeightsOfTheFolderInFloat16) {
  const auto folder = ParsedPipeline::Open(kRoot / GetParam());
  ASSERT_TRUE(folder.ok()) << folder.status();
  const auto file = ParsedPipeline::OpenSingleFile(FileOf(GetParam()), kRoot / GetParam());
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_GE(folder->description().parts.size(), 3);
  for (const PartDescription& part : folder->description().parts) {
    SCOPED_TRACE(part.name);
    ASSERT_NE(file->FindWeights(part.name), nullptr);
    ExpectSameWeights(folder->FindWeights(part.name)->tensors,
                      file->FindWeights(part.name)->tensors);
  }
  const auto loaded = file->Load({});
  EXPECT_TRUE(loaded.ok()) << loaded.status();
}

TEST_P(SingleFiles, BecomeFoldersThatLoad) {
  const TempDir temp;
  const fs::path goal = temp.path() / "model";
  const auto file = ParsedPipeline::OpenSingleFile(FileOf(GetParam()), kRoot / GetParam());
  ASSERT_TRUE(file.ok()) << file.status();
  const absl::Status written = WritePipeline(goal, *file);
  ASSERT_TRUE(written.ok()) << written;
  const auto folder = ParsedPipeline::Open(goal);
  ASSERT_TRUE(folder.ok()) << folder.status();
  const auto loaded = folder->Load({});
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(folder->Texts(), file->Texts());
  for (const PartDescription& part : file->description().parts) {
    ExpectSameWeights(file->FindWeights(part.name)->tensors,
                      folder->FindWeights(part.name)->tensors);
  }
  EXPECT_TRUE(absl::IsAlreadyExists(WritePipeline(goal, *file)));
}

INSTANTIATE_TEST_SUITE_P(Families, SingleFiles, testing::ValuesIn(Names()),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::erase(name, '-');
                           return name;
                         });

std::string UNetName(const std::string& name) {
  // Two resnets at the highest resolution, then one.
  const TranslatedNames names = TranslateUNetName(name, {.layers = {2, 1}});
  return names.size() == 1 ? names[0].name : "";
}

TEST(OriginalNames, CountBlocksThroughAllLevels) {
  EXPECT_EQ(UNetName("input_blocks.2.1.proj_in.bias"), "down_blocks.0.attentions.1.proj_in.bias");
  EXPECT_EQ(UNetName("input_blocks.3.0.op.bias"), "down_blocks.0.downsamplers.0.conv.bias");
  EXPECT_EQ(UNetName("input_blocks.4.0.in_layers.2.bias"), "down_blocks.1.resnets.0.conv1.bias");
  EXPECT_EQ(UNetName("output_blocks.1.1.conv.bias"), "up_blocks.0.upsamplers.0.conv.bias");
  EXPECT_EQ(UNetName("output_blocks.1.2.conv.bias"), "up_blocks.0.upsamplers.0.conv.bias");
  EXPECT_EQ(UNetName("output_blocks.4.0.skip_connection.bias"),
            "up_blocks.1.resnets.2.conv_shortcut.bias");
}

TEST(OriginalNames, KnowNoOthers) {
  for (const char* name :
       {"input_blocks.5.0.in_layers.2.bias", "input_blocks.04.0.in_layers.2.bias",
        "input_blocks.1.2.proj_in.bias", "input_blocks.3.0.in_layers.2.bias", "input_blocks.1",
        "input_blocks.99999999999999999999.0.op.bias", "output_blocks.0.1.conv.bias",
        "output_blocks.5.0.in_layers.2.bias", "middle_block.3.in_layers.2.bias", "out.1.bias",
        "input_blocks.1.0.in_layers.2.scale", ""}) {
    EXPECT_EQ(UNetName(name), "") << name;
  }
}

TEST(OriginalNames, TellTheLevelsFromTheDownsamplings) {
  std::set<std::string> names = {"input_blocks.0.0.bias", "input_blocks.3.0.op.weight",
                                 "input_blocks.4.0.in_layers.2.bias"};
  EXPECT_EQ(FindUNetLevels(names)->layers, (std::vector<size_t>{2, 1}));
  names.insert("input_blocks.0.0.op.weight");
  EXPECT_FALSE(FindUNetLevels(names).has_value());
  EXPECT_FALSE(FindUNetLevels({"out.0.bias"}).has_value());
}

SafetensorsFile OpenFile(const fs::path& path) { return SafetensorsFile::Open(path).value(); }

SingleFileLayout LayoutOf(const std::string& name) {
  return ReadSingleFileLayout(OpenFile(FileOf(name)).header()).value();
}

TEST(SingleFileLayout, TellsTheFamilies) {
  EXPECT_EQ(LayoutOf("sd15-like").family->name, "Stable Diffusion 1.x");
  EXPECT_EQ(LayoutOf("sd21-v-like").family->name, "Stable Diffusion 2.x");
  EXPECT_EQ(LayoutOf("sdxl-like").family->name, "Stable Diffusion XL");
}

// The refiner is an XL with its second text encoder alone.
TEST(SingleFileLayout, TellsTheRefiner) {
  SafetensorsHeader header;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    header.tensors[name] = {.dtype = "F16", .shape = std::move(shape)};
  };
  add("model.diffusion_model.input_blocks.0.0.weight", {8, 4, 3, 3});
  add("model.diffusion_model.input_blocks.1.0.in_layers.0.bias", {8});
  add("model.diffusion_model.label_emb.0.2.bias", {16});
  add("first_stage_model.quant_conv.weight", {8, 8, 1, 1});
  add("conditioner.embedders.0.model.transformer.resblocks.1.attn.in_proj_bias", {24});
  add("conditioner.embedders.0.model.text_projection", {8, 6});
  const auto layout = ReadSingleFileLayout(header);
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(layout->family->name, "Stable Diffusion XL refiner");
  EXPECT_EQ(layout->unet_channels, 4);
  const PartOrigins& text = layout->parts.at("text_encoder_2");
  EXPECT_EQ(text.at("text_model.encoder.layers.1.self_attn.k_proj.bias").form, TensorForm::kKey);
  EXPECT_EQ(text.at("text_projection.weight").form, TensorForm::kTransposed);
  EXPECT_TRUE(layout->parts.at("unet").contains("add_embedding.linear_2.bias"));
  EXPECT_EQ(CountPartParameters(header, text), 24 + 48);
  EXPECT_TRUE(layout->ignored.empty());
}

TEST(SingleFileLayout, CountsWhatIsNoWeightOfTheModel) {
  const SingleFileLayout layout = LayoutOf("sd15-like");
  EXPECT_THAT(layout.ignored, Contains(std::pair<const std::string, int64_t>("model_ema.", 2)));
  EXPECT_THAT(layout.ignored, Contains(Key("betas")));
  EXPECT_THAT(layout.ignored,
              Contains(Key("cond_stage_model.transformer.text_model.embeddings.position_ids")));
}

TEST(SingleFileLayout, LeavesOutTheLayerThatIsNotUsed) {
  SingleFileLayout layout = LayoutOf("sd21-v-like");
  EXPECT_EQ(CountTextLayers(layout, "text_encoder"), 4);
  EXPECT_TRUE(layout.parts["text_encoder"].contains("text_projection.weight"));
  KeepTextLayers("text_encoder", 3, /*projection=*/false, layout);
  EXPECT_EQ(CountTextLayers(layout, "text_encoder"), 3);
  EXPECT_FALSE(layout.parts["text_encoder"].contains("text_projection.weight"));
  EXPECT_THAT(layout.ignored, Contains(Key("cond_stage_model.model.text_projection")));
}

SafetensorsHeader HeaderOf(const std::vector<std::string>& names) {
  SafetensorsHeader header;
  for (const std::string& name : names) header.tensors[name] = {.dtype = "F16", .shape = {0}};
  return header;
}

TEST(SingleFileLayout, SaysWhatOtherFilesLookLike) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", "a LoRA"},
      {"unet.down_blocks.0.attentions.0.to_q.lora_A.weight", "a LoRA"},
      {"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "Stable Diffusion 3"},
      {"double_blocks.0.img_attn.qkv.weight", "FLUX"},
      {"blocks.0.adaLN_modulation.1.weight", "DiT"},
      {"decoder.up.0.block.0.conv1.weight", "a VAE alone"},
      {"down_blocks.0.resnets.0.conv1.weight", "the diffusers layout"},
      {"control_model.input_blocks.0.0.weight", "a ControlNet"},
      {"first_stage_model.decoder.conv_in.weight", "no network (model.diffusion_model.)"},
      {"model.diffusion_model.out.0.weight", "no VAE (first_stage_model.) and no text encoder"},
      {"fc.weight", "its first tensor is \"fc.weight\""},
  };
  for (const auto& [name, what] : cases) {
    const auto layout = ReadSingleFileLayout(HeaderOf({name}));
    EXPECT_TRUE(absl::IsInvalidArgument(layout.status())) << name;
    EXPECT_THAT(std::string(layout.status().message()), HasSubstr(what));
  }
}

// A copy of a single file with its tensors changed.
class ChangedFile {
 public:
  ChangedFile(const std::string& name, const std::function<void(StateDict&)>& change) {
    const SafetensorsFile file = OpenFile(FileOf(name));
    StateDict tensors;
    for (const auto& [tensor, entry] : file.header().tensors) {
      if (!entry.dtype.starts_with("I")) tensors[tensor] = file.Get(tensor).value();
    }
    change(tensors);
    const absl::Status written = WriteSafetensors(path(), tensors);
    EXPECT_TRUE(written.ok()) << written;
  }
  fs::path path() const { return temp_.path() / "changed.safetensors"; }

  // What comes of it with the configurations of `name`.
  absl::Status Load(const std::string& name) const {
    const auto parsed = ParsedPipeline::OpenSingleFile(path(), kRoot / name);
    return parsed.ok() ? parsed->Load({}).status() : parsed.status();
  }

 private:
  TempDir temp_;
};

TEST(SingleFile, NamesTensorsThatNoPartKnows) {
  const ChangedFile file("sd15-like", [](StateDict& tensors) {
    tensors["model.diffusion_model.input_blocks.1.5.weight"] = tensors["betas"];
  });
  const absl::Status status = file.Load("sd15-like");
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("model.diffusion_model.input_blocks.1.5.weight"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("is not a tensor of a unet"));
}

TEST(SingleFile, NamesTensorsThatAreMissing) {
  const ChangedFile file("sdxl-like", [](StateDict& tensors) {
    tensors.erase("conditioner.embedders.1.model.ln_final.weight");
  });
  const absl::Status status = file.Load("sdxl-like");
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("changed.safetensors: text_encoder_2: "
                        "text_model.final_layer_norm.weight: is missing"));
}

TEST(SingleFile, RefusesOneTensorUnderTwoNames) {
  const ChangedFile file("sd15-like", [](StateDict& tensors) {
    const std::string prefix = "cond_stage_model.transformer.";
    const std::string name = "final_layer_norm.weight";
    tensors[prefix + name] = tensors[prefix + "text_model." + name];
  });
  EXPECT_THAT(std::string(file.Load("sd15-like").message()), HasSubstr("is the same tensor as"));
}

TEST(SingleFile, RefusesConfigurationsOfAnotherFamily) {
  const ChangedFile xl("sdxl-like", [](StateDict&) {});
  EXPECT_THAT(std::string(xl.Load("sd15-like").message()),
              HasSubstr("holds Stable Diffusion XL, but the configurations are those of a "
                        "StableDiffusionPipeline"));
  const ChangedFile sd("sd15-like", [](StateDict&) {});
  EXPECT_THAT(std::string(sd.Load("inpaint-9ch").message()),
              HasSubstr("reads 4 channels, but in_channels of the configurations is 9"));
  EXPECT_THAT(std::string(sd.Load("ldm-like").message()), HasSubstr("LDMPipeline"));
}

TEST(SingleFile, RefusesFilesThatAreNoSafetensors) {
  const TempDir temp;
  const fs::path path = temp.path() / "model.ckpt";
  for (const auto& [bytes, what] : {std::pair{"GGUF\3", "GGUF"}, {"\x80\x02}q", "pickle"}}) {
    std::ofstream(path, std::ios::binary) << bytes;
    const auto parsed = ParsedPipeline::OpenSingleFile(path, kRoot / "sd15-like");
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(what));
    EXPECT_THAT(std::string(parsed.status().message()), Not(HasSubstr(temp.path().string())));
  }
}

}  // namespace
}  // namespace denoise
