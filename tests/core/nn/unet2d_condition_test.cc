#include "core/nn/unet2d_condition.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/field_violations.h"
#include "tests/core/nn/condition_checkpoints.h"

namespace denoise {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::SizeIs;

at::Tensor Forward(const Network& network, const NetworkInput& input) {
  const c10::InferenceMode inference;
  return network.Forward(input);
}

// A network of two small levels, with `entries` in its configuration.
std::string TinyJson(const std::string& entries) {
  return "{" + entries + R"("sample_size": 8, "block_out_channels": [8, 16], "norm_num_groups": 4,
      "attention_head_dim": 2, "cross_attention_dim": 12, "layers_per_block": 1,
      "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
      "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]})";
}

constexpr char kTextTime[] = R"("addition_embed_type": "text_time", "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 30,)";

StateDict TinyWeights(const std::string& json) {
  return InitializeUNet2DCondition(*ParseUNet2DConditionConfig(json), 1);
}

std::vector<FieldViolation> Violations(const std::string& json, const StateDict& weights,
                                       const UNet2DConditionOptions& options = {}) {
  const auto network = CreateUNet2DCondition(*ParseUNet2DConditionConfig(json), weights, options);
  EXPECT_TRUE(network.ok() || absl::IsInvalidArgument(network.status()));
  return GetFieldViolations(network.status());
}

auto Violation(const std::string& field, const std::string& description) {
  return AllOf(Field(&FieldViolation::field, field),
               Field(&FieldViolation::description, HasSubstr(description)));
}

NetworkInput TinyInput(const Network& network, std::vector<int64_t> lengths = {5, 5}) {
  return RandomConditionInput(network.spec(), {8, 8, std::move(lengths)}, 1);
}

TEST(UNet2DCondition, MissingUnexpectedAndMisshapenWeightsAreNamedTogether) {
  const std::string attention = "mid_block.attentions.0.transformer_blocks.0.attn2.";
  StateDict weights = TinyWeights(TinyJson(""));
  weights.erase(attention + "to_k.weight");
  weights[attention + "to_v.weight"] = at::zeros({16, 13});
  weights["conv_out.bias"] = at::zeros({4}, at::kLong);
  weights["surprise"] = at::zeros({1});
  EXPECT_THAT(
      Violations(TinyJson(""), weights),
      testing::UnorderedElementsAre(
          Violation(attention + "to_k.weight", "missing, expected [16, 12]"),
          Violation(attention + "to_v.weight", "has shape [16, 13], expected [16, 12]"),
          Violation("conv_out.bias", "not a floating-point"), Violation("surprise", "unexpected")));
}

TEST(UNet2DCondition, EveryWeightIsNeeded) {
  for (const char* name : {"sd15-like", "lcm-like", "sdxl-like"}) {
    const UNetFolder folder = ReadPipelineUNet(name);
    for (const auto& [left_out, tensor] : folder.weights) {
      StateDict weights = folder.weights;
      weights.erase(left_out);
      EXPECT_THAT(Violations(folder.config_json, weights), SizeIs(1)) << name << ": " << left_out;
    }
  }
}

TEST(UNet2DCondition, NewWeightsHaveTheNamesAndShapesOfTheLibrary) {
  for (const std::string& name : ConditionPipelines()) {
    const UNetFolder folder = ReadPipelineUNet(name);
    const auto config = ParseUNet2DConditionConfig(folder.config_json);
    const StateDict made = InitializeUNet2DCondition(*config, 7);
    ASSERT_EQ(made.size(), folder.weights.size()) << name;
    int64_t count = 0;
    for (const auto& [key, tensor] : folder.weights) {
      ASSERT_TRUE(made.contains(key)) << name << ": " << key;
      EXPECT_EQ(made.at(key).sizes(), tensor.sizes()) << name << ": " << key;
      count += tensor.numel();
    }
    EXPECT_EQ(CountUNet2DConditionParameters(*config), count);
    EXPECT_EQ(LoadConditionNetwork(folder, OptionsFor(name))->spec().num_parameters, count);
  }
}

TEST(UNet2DCondition, TheRealFamiliesHaveTheirPublishedNumbersOfParameters) {
  const auto count = [](const char* json) {
    const auto config = ParseUNet2DConditionConfig(json);
    EXPECT_TRUE(config.ok()) << config.status();
    return CountUNet2DConditionParameters(*config);
  };
  EXPECT_EQ(count(R"({"sample_size": 64, "attention_head_dim": 8, "cross_attention_dim": 768})"),
            859'520'964);
  EXPECT_EQ(count(R"({"sample_size": 96, "attention_head_dim": [5, 10, 20, 20],
      "cross_attention_dim": 1024, "use_linear_projection": true})"),
            865'910'724);
  EXPECT_EQ(count(R"({"sample_size": 128, "attention_head_dim": [5, 10, 20],
      "cross_attention_dim": 2048, "use_linear_projection": true,
      "block_out_channels": [320, 640, 1280], "transformer_layers_per_block": [1, 2, 10],
      "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
      "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
      "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
      "projection_class_embeddings_input_dim": 2816})"),
            2'567'463'684);
}

TEST(UNet2DCondition, TheLoaderKeepsNoHoldOfTheWeightsItWasGiven) {
  StateDict weights = TinyWeights(TinyJson(""));
  const auto network = LoadConditionNetwork({TinyJson(""), weights});
  const NetworkInput input = TinyInput(*network);
  const at::Tensor before = Forward(*network, input);
  for (auto& [name, tensor] : weights) tensor.zero_();
  EXPECT_TRUE(at::equal(Forward(*network, input), before));
}

TEST(UNet2DCondition, SpecSaysWhatTheNetworkTakes) {
  const NetworkSpec sd15 = LoadConditionNetwork(ReadPipelineUNet("sd15-like"))->spec();
  EXPECT_EQ(sd15.sample, (SampleShape{4, 16, 16}));
  EXPECT_EQ(sd15.size_multiple, 1);
  EXPECT_EQ(sd15.text_width, 32);
  EXPECT_EQ(sd15.pooled_text_width, 0);
  EXPECT_EQ(sd15.num_time_ids, 0);
  EXPECT_FALSE(sd15.guidance_embedding);
  EXPECT_EQ(sd15.condition_channels, 0);
  EXPECT_TRUE(LoadConditionNetwork(ReadPipelineUNet("lcm-like"))->spec().guidance_embedding);
  const NetworkSpec refiner =
      LoadConditionNetwork(ReadPipelineUNet("sdxl-refiner-like"), {.num_time_ids = 5})->spec();
  EXPECT_EQ(refiner.pooled_text_width, 24);
  EXPECT_EQ(refiner.num_time_ids, 5);
  const NetworkSpec inpaint = LoadConditionNetwork(ReadPipelineUNet("inpaint-9ch"))->spec();
  EXPECT_EQ(inpaint.sample.channels, 4);
  EXPECT_EQ(inpaint.condition_channels, 5);
}

TEST(UNet2DCondition, SampleChannelsComeFromTheOutputOrTheCaller) {
  const auto spec = [](const char* channels, std::optional<int64_t> sample_channels = {}) {
    return RandomConditionNetwork(TinyJson(channels), {.sample_channels = sample_channels})->spec();
  };
  const NetworkSpec learned = spec(R"("in_channels": 3, "out_channels": 6,)");
  EXPECT_EQ(learned.sample.channels, 3);
  EXPECT_EQ(learned.out_channels, 6);
  const NetworkSpec masked = spec(R"("in_channels": 9, "out_channels": 8,)", 4);
  EXPECT_EQ(masked.sample.channels, 4);
  EXPECT_EQ(masked.condition_channels, 5);
  EXPECT_THAT(
      Violations(TinyJson(R"("in_channels": 4, "out_channels": 4,)"), {}, {.sample_channels = 5}),
      ElementsAre(Violation("in_channels", "at least 5")));
  EXPECT_THAT(
      Violations(TinyJson(R"("in_channels": 4, "out_channels": 3,)"), {}, {.sample_channels = 4}),
      ElementsAre(Violation("out_channels", "must be 4, or 8")));
}

TEST(UNet2DCondition, TimeIdsMustLeaveRoomForThePooledText) {
  EXPECT_THAT(Violations(TinyJson(kTextTime), {}, {.num_time_ids = 8}),
              ElementsAre(Violation("projection_class_embeddings_input_dim", "above 32")));
}

TEST(UNet2DCondition, WrongInputsThrow) {
  const auto network = RandomConditionNetwork(
      TinyJson(std::string(kTextTime) +
               R"("in_channels": 6, "num_class_embeds": 3, "time_cond_proj_dim": 8,)"));
  const NetworkInput good = TinyInput(*network, {5, 3});
  EXPECT_NO_THROW(Forward(*network, good));
  const auto expect_throw = [&](auto change) {
    NetworkInput input = good;
    change(input);
    EXPECT_THROW(Forward(*network, input), c10::Error);
  };
  expect_throw([](NetworkInput& input) { input.x = input.x.narrow(1, 0, 2); });
  expect_throw([](NetworkInput& input) { input.x = input.x.to(at::kDouble); });
  expect_throw([](NetworkInput& input) { input.x = at::Tensor(); });
  expect_throw([](NetworkInput& input) { input.x = input.x.narrow(0, 0, 0); });
  expect_throw([](NetworkInput& input) { input.x = input.x.narrow(3, 0, 4); });
  expect_throw([](NetworkInput& input) { input.timesteps = input.timesteps.narrow(0, 0, 1); });
  for (at::Tensor Conditions::*field :
       {&Conditions::text_states, &Conditions::pooled_text, &Conditions::time_ids,
        &Conditions::guidance_scales, &Conditions::channels, &Conditions::class_labels}) {
    expect_throw([&](NetworkInput& input) { input.conditions.*field = at::Tensor(); });
    expect_throw([&](NetworkInput& input) {
      at::Tensor& tensor = input.conditions.*field;
      tensor = tensor.narrow(0, 0, 1);
    });
  }
  for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{5}, {5, 0}, {5, 6}, {5, 5, 5}}) {
    expect_throw([&](NetworkInput& input) { input.conditions.text_lengths = lengths; });
  }
}

TEST(UNet2DCondition, EveryKindOfNetworkRuns) {
  for (const std::string& entries :
       std::vector<std::string>{"",
                                R"("use_linear_projection": true,)",
                                R"("only_cross_attention": true,)",
                                R"("only_cross_attention": [true, false],)",
                                R"("mid_block_type": null,)",
                                R"("mid_block_type": "UNetMidBlock2D",)",
                                R"("num_class_embeds": 3,)",
                                R"("class_embed_type": "timestep",)",
                                R"("time_cond_proj_dim": 9,)",
                                kTextTime,
                                R"("in_channels": 9,)",
                                R"("conv_in_kernel": 5, "conv_out_kernel": 1,)",
                                R"("act_fn": "gelu",)",
                                R"("act_fn": "relu",)",
                                R"("flip_sin_to_cos": false,)",
                                R"("center_input_sample": true,)",
                                R"("downsample_padding": 0,)",
                                R"("resnet_time_scale_shift": "scale_shift",)",
                                R"("mid_block_scale_factor": 2,)",
                                R"("time_embedding_dim": 24,)",
                                R"("transformer_layers_per_block": [2, 1],)",
                                R"("transformer_layers_per_block": [[2], 1],
              "reverse_transformer_layers_per_block": [1, [1, 3]],)"}) {
    SCOPED_TRACE(entries);
    const std::string json = TinyJson(entries);
    const auto network = RandomConditionNetwork(json);
    const NetworkInput input = TinyInput(*network, {5, 3, 5});
    const at::Tensor output = Forward(*network, input);
    EXPECT_TRUE(output.isfinite().all().item<bool>());
    // The plain operators compute the same function.
    const auto plain = RandomConditionNetwork(json, {.batch_invariant = false});
    EXPECT_TRUE(at::allclose(Forward(*plain, input), output, 1e-4, 1e-5));
    const auto precise = plain->To(at::kCPU, at::kDouble);
    EXPECT_TRUE(at::allclose(Forward(*precise, input), output, 1e-4, 1e-5));
  }
}

// Everything that a row is told changes its result, and no other row's.
TEST(UNet2DCondition, EveryConditionMatters) {
  const auto network = RandomConditionNetwork(
      TinyJson(std::string(kTextTime) +
               R"("in_channels": 6, "num_class_embeds": 3, "time_cond_proj_dim": 8,)"));
  const NetworkInput input = TinyInput(*network, {5, 4});
  const at::Tensor output = Forward(*network, input);
  const auto expect_change = [&](const char* what, auto change) {
    NetworkInput other = Rows(input, 0, 2);
    change(other);
    const at::Tensor changed = Forward(*network, other);
    EXPECT_FALSE(at::allclose(changed[0], output[0], 1e-4, 1e-5)) << what;
    EXPECT_TRUE(at::equal(changed[1], output[1])) << what;
  };
  expect_change("timestep", [](NetworkInput& other) { other.timesteps[0] += 100; });
  expect_change("label", [](NetworkInput& other) {
    at::Tensor label = other.conditions.class_labels[0];
    label.copy_(at::remainder(label + 1, 3));
  });
  expect_change("text", [](NetworkInput& other) { other.conditions.text_states[0].add_(1); });
  expect_change("pooled", [](NetworkInput& other) { other.conditions.pooled_text[0].add_(1); });
  expect_change("time ids", [](NetworkInput& other) { other.conditions.time_ids[0].add_(9); });
  expect_change("guidance", [](NetworkInput& other) { other.conditions.guidance_scales[0] += 1; });
  expect_change("channels", [](NetworkInput& other) { other.conditions.channels[0].add_(1); });
}

TEST(UNet2DCondition, PaddingOfATextIsNotRead) {
  const auto network = RandomConditionNetwork(TinyJson(""));
  const NetworkInput input = TinyInput(*network, {7, 3});
  const at::Tensor output = Forward(*network, input);
  NetworkInput other = Rows(input, 0, 2);
  other.conditions.text_states[1].narrow(0, 3, 4).fill_(1e30);
  EXPECT_TRUE(at::equal(Forward(*network, other), output));
}

TEST(UNet2DCondition, OddSizesComeBackAsTheyWere) {
  const auto network = RandomConditionNetwork(R"({"sample_size": 8, "norm_num_groups": 4,
      "block_out_channels": [8, 8, 8, 8], "attention_head_dim": 2, "cross_attention_dim": 12})");
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{9, 15}, {1, 1}, {13, 2}}) {
    const NetworkInput input = RandomConditionInput(network->spec(), {height, width, {4}}, 1);
    EXPECT_EQ(Forward(*network, input).sizes(), at::IntArrayRef({1, 4, height, width}));
  }
}

TEST(UNet2DCondition, TheMemoryOrderOfTheInputDoesNotMatter) {
  const auto network = RandomConditionNetwork(TinyJson(R"("in_channels": 9,)"));
  NetworkInput input = TinyInput(*network, {5, 3});
  const at::Tensor expected = Forward(*network, input);
  EXPECT_TRUE(expected.is_contiguous());
  input.x = input.x.contiguous(at::MemoryFormat::ChannelsLast);
  at::Tensor& states = input.conditions.text_states;
  states = states.transpose(1, 2).contiguous().transpose(1, 2);
  EXPECT_TRUE(at::equal(Forward(*network, input), expected));
}

TEST(UNet2DCondition, AConvertedNetworkComputesTheSameInItsOwnDtype) {
  const auto network = RandomConditionNetwork(TinyJson(kTextTime));
  const NetworkInput input = TinyInput(*network, {5, 3});
  const at::Tensor expected = Forward(*network, input);
  const auto bfloat16 = network->To(at::kCPU, at::kBFloat16);
  EXPECT_EQ(bfloat16->dtype(), at::kBFloat16);
  EXPECT_EQ(bfloat16->spec().num_parameters, network->spec().num_parameters);
  const at::Tensor output = Forward(*bfloat16, input);
  EXPECT_EQ(output.scalar_type(), at::kFloat);
  EXPECT_LT((output - expected).abs().max().item<double>(),
            0.05 * expected.abs().max().item<double>());
  EXPECT_EQ(network->To(at::kCPU, at::kFloat), network);
  const auto there = network->To(at::kCPU, at::kDouble);
  EXPECT_TRUE(at::allclose(Forward(*there, input), expected, 1e-4, 1e-5));
}

TEST(UNet2DCondition, WeightsComeBackFromAConversion) {
  for (const std::string& name : ConditionPipelines()) {
    const auto network = LoadConditionNetwork(ReadPipelineUNet(name), OptionsFor(name));
    const NetworkInput input = RandomConditionInput(network->spec(), {16, 16, {77}}, 1);
    const auto back = network->To(at::kCPU, at::kDouble)->To(at::kCPU, at::kFloat);
    EXPECT_TRUE(at::equal(Forward(*back, input), Forward(*network, input))) << name;
  }
}

TEST(UNet2DCondition, WeightsOfAnyFloatingDtypeLoad) {
  const std::string json = TinyJson("");
  const auto network = RandomConditionNetwork(json);
  const NetworkInput input = TinyInput(*network);
  const at::Tensor expected = Forward(*network, input);
  for (const auto& [dtype, tolerance] :
       {std::pair{at::kDouble, 0.0}, {at::kHalf, 1e-2}, {at::kBFloat16, 1e-1}}) {
    StateDict weights = TinyWeights(json);
    for (auto& [name, tensor] : weights) tensor = tensor.to(dtype);
    const auto from_other = LoadConditionNetwork({json, weights});
    EXPECT_EQ(from_other->dtype(), at::kFloat);
    EXPECT_LE((Forward(*from_other, input) - expected).abs().max().item<double>(), tolerance);
  }
}

}  // namespace
}  // namespace denoise
