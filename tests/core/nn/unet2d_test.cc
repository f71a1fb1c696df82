#include "core/nn/unet2d.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/field_violations.h"
#include "tests/core/nn/test_checkpoints.h"

namespace denoise {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::vector<FieldViolation> Violations(const UNetFolder& folder, const StateDict& weights) {
  const auto config = ParseUNet2DConfig(folder.config_json);
  const auto network = CreateUNet2D(*config, weights, {});
  EXPECT_TRUE(network.ok() || absl::IsInvalidArgument(network.status()));
  return GetFieldViolations(network.status());
}

auto Violation(const std::string& field, const std::string& description) {
  return AllOf(Field(&FieldViolation::field, field),
               Field(&FieldViolation::description, HasSubstr(description)));
}

at::Tensor Forward(const Network& network, const NetworkInput& input) {
  const c10::InferenceMode inference;
  return network.Forward(input);
}

// A network of one small level, with `entries` in its configuration.
std::string TinyJson(const std::string& entries) {
  return "{" + entries + R"("sample_size": 8, "block_out_channels": [8, 16], "norm_num_groups": 4,
      "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
      "up_block_types": ["AttnUpBlock2D", "UpBlock2D"], "layers_per_block": 1})";
}

TEST(UNet2D, MissingUnexpectedAndMisshapenWeightsAreNamedTogether) {
  const UNetFolder folder = ReadReferenceUNet("gray-not-square");
  StateDict weights = folder.weights;
  weights.erase("conv_in.bias");
  weights["conv_out.weight"] = at::zeros({2, 16, 3, 3});
  weights["conv_out.bias"] = at::zeros({1}, at::kLong);
  weights["surprise"] = at::zeros({1});
  EXPECT_THAT(
      Violations(folder, weights),
      testing::UnorderedElementsAre(
          Violation("conv_in.bias", "missing, expected [16]"),
          Violation("conv_out.weight", "has shape [2, 16, 3, 3], expected [1, 16, 3, 3]"),
          Violation("conv_out.bias", "not a floating-point"), Violation("surprise", "unexpected")));
}

TEST(UNet2D, OnlyTheFirstWrongWeightsAreNamed) {
  const UNetFolder folder = ReadReferenceUNet("gray-not-square");
  const std::vector<FieldViolation> violations = Violations(folder, {});
  EXPECT_THAT(violations, SizeIs(21));
  EXPECT_THAT(violations, Contains(Violation("...", "more tensors")));
}

TEST(UNet2D, EveryWeightIsNeeded) {
  for (const std::string& name : ReferenceCheckpoints()) {
    const UNetFolder folder = ReadReferenceUNet(name);
    for (const auto& [left_out, tensor] : folder.weights) {
      StateDict weights = folder.weights;
      weights.erase(left_out);
      EXPECT_THAT(Violations(folder, weights), SizeIs(1)) << name << " without " << left_out;
    }
  }
}

TEST(UNet2D, TheLoaderKeepsNoHoldOfTheWeightsItWasGiven) {
  const UNetFolder folder = ReadReferenceUNet("learned-range");
  StateDict weights;
  for (const auto& [name, tensor] : folder.weights) weights[name] = tensor.clone();
  const auto network = LoadNetwork({folder.config_json, weights});
  const NetworkInput input = RandomInput(*network, 1, 1);
  const at::Tensor before = Forward(*network, input);
  for (auto& [name, tensor] : weights) tensor.zero_();
  EXPECT_TRUE(at::equal(Forward(*network, input), before));
}

TEST(UNet2D, WeightsOfAnyFloatingDtypeLoad) {
  const UNetFolder folder = ReadReferenceUNet("class-conditional-v");
  const auto network = LoadNetwork(folder);
  const NetworkInput input = RandomInput(*network, 2, 1);
  const at::Tensor expected = Forward(*network, input);
  for (const auto& [dtype, tolerance] :
       {std::pair{at::kDouble, 0.0}, {at::kHalf, 1e-2}, {at::kBFloat16, 1e-1}}) {
    UNetFolder converted = folder;
    for (auto& [name, tensor] : converted.weights) tensor = tensor.to(dtype);
    const auto from_other = LoadNetwork(converted);
    EXPECT_EQ(from_other->dtype(), at::kFloat);
    EXPECT_LE((Forward(*from_other, input) - expected).abs().max().item<double>(), tolerance);
  }
}

TEST(UNet2D, OldAttentionWeightsMayBePointwiseConvolutions) {
  const UNetFolder folder = ReadReferenceUNet("root-layout-old-names");
  UNetFolder as_convolutions = folder;
  int converted = 0;
  for (auto& [name, tensor] : as_convolutions.weights) {
    if (name.find("attentions") == std::string::npos || tensor.dim() != 2) continue;
    tensor = tensor.unsqueeze(2).unsqueeze(3);
    ++converted;
  }
  EXPECT_GT(converted, 0);
  const auto network = LoadNetwork(folder);
  const NetworkInput input = RandomInput(*network, 2, 1);
  EXPECT_TRUE(at::equal(Forward(*LoadNetwork(as_convolutions), input), Forward(*network, input)));
}

TEST(UNet2D, SpecSaysWhatTheNetworkTakes) {
  const auto network = LoadNetwork(ReadReferenceUNet("class-conditional-v"));
  EXPECT_EQ(network->spec().sample.channels, 3);
  EXPECT_EQ(network->spec().out_channels, 3);
  EXPECT_EQ(network->spec().sample.height, 16);
  EXPECT_EQ(network->spec().num_class_embeds, 6);
  int64_t parameters = 0;
  for (const auto& [name, tensor] : ReadReferenceUNet("class-conditional-v").weights) {
    parameters += tensor.numel();
  }
  EXPECT_EQ(network->spec().num_parameters, parameters);
  EXPECT_EQ(network->device(), at::kCPU);
  EXPECT_EQ(LoadNetwork(ReadReferenceUNet("gray-not-square"))->spec().sample.width, 24);
}

TEST(UNet2D, WrongInputsThrow) {
  const auto network = LoadNetwork(ReadReferenceUNet("class-conditional-v"));
  const NetworkInput good = RandomInput(*network, 2, 1);
  EXPECT_NO_THROW(Forward(*network, good));
  const auto expect_throw = [&](auto change) {
    NetworkInput input = good;
    change(input);
    EXPECT_THROW(Forward(*network, input), c10::Error);
  };
  expect_throw([](NetworkInput& input) { input.x = input.x.narrow(1, 0, 2); });
  expect_throw([](NetworkInput& input) { input.x = input.x.narrow(3, 0, 8); });
  expect_throw([](NetworkInput& input) { input.x = input.x[0]; });
  expect_throw([](NetworkInput& input) { input.x = input.x.to(at::kDouble); });
  expect_throw([](NetworkInput& input) { input.x = input.x.narrow(0, 0, 0); });
  expect_throw([](NetworkInput& input) { input.x = at::Tensor(); });
  expect_throw([](NetworkInput& input) { input.timesteps = input.timesteps.narrow(0, 0, 1); });
  expect_throw([](NetworkInput& input) { input.timesteps = input.timesteps.to(at::kLong); });
  expect_throw([](NetworkInput& input) { input.conditions.class_labels = at::Tensor(); });
  expect_throw([](NetworkInput& input) {
    input.conditions.class_labels = input.conditions.class_labels.narrow(0, 0, 1);
  });
  expect_throw([](NetworkInput& input) {
    input.conditions.class_labels = input.conditions.class_labels.to(at::kFloat);
  });
  const auto unconditional = LoadNetwork(ReadReferenceUNet("learned-range"));
  NetworkInput labelled = RandomInput(*unconditional, 2, 1);
  labelled.conditions.class_labels = good.conditions.class_labels;
  EXPECT_THROW(Forward(*unconditional, labelled), c10::Error);
}

TEST(UNet2D, TheMemoryOrderOfTheInputDoesNotMatter) {
  const auto network = LoadNetwork(ReadReferenceUNet("learned-range"));
  NetworkInput input = RandomInput(*network, 2, 1);
  const at::Tensor expected = Forward(*network, input);
  EXPECT_TRUE(expected.is_contiguous());
  input.x = input.x.contiguous(at::MemoryFormat::ChannelsLast);
  EXPECT_TRUE(at::equal(Forward(*network, input), expected));
  input.x = at::stack({input.x, input.x}, 4).select(4, 0);
  EXPECT_TRUE(at::equal(Forward(*network, input), expected));
}

TEST(UNet2D, FractionsOfATimestepAreHeard) {
  const auto network = LoadNetwork(ReadReferenceUNet("learned-range"));
  NetworkInput input = RandomInput(*network, 1, 1);
  input.timesteps = at::full({1}, 10.0);
  const at::Tensor whole = Forward(*network, input);
  input.timesteps = at::full({1}, 10.5);
  EXPECT_FALSE(at::equal(Forward(*network, input), whole));
}

TEST(UNet2D, EveryKindOfTimeAndClassEmbeddingRuns) {
  for (const char* entries :
       {R"("time_embedding_type": "fourier",)",
        R"("time_embedding_type": "learned", "num_train_timesteps": 1000,)",
        R"("time_embedding_dim": 24,)", R"("class_embed_type": "timestep",)",
        R"("class_embed_type": "identity", "num_class_embeds": 2,)",
        R"("class_embed_type": "timestep", "time_embedding_type": "learned",
            "num_train_timesteps": 1000,)",
        R"("add_attention": false,)", R"("mid_block_type": null,)", R"("act_fn": "mish",)",
        R"("act_fn": "gelu",)", R"("act_fn": "relu",)", R"("attn_norm_num_groups": 2,)",
        R"("resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 2,)",
        R"("center_input_sample": true,)", R"("downsample_padding": 0,)",
        R"("downsample_type": "resnet", "upsample_type": "resnet",)"}) {
    SCOPED_TRACE(entries);
    const auto network = RandomNetwork(TinyJson(entries));
    const NetworkInput input = RandomInput(*network, 3, 1);
    const at::Tensor output = Forward(*network, input);
    EXPECT_TRUE(output.isfinite().all().item<bool>());
    // The plain operators compute the same function.
    const auto plain = RandomNetwork(TinyJson(entries), {.batch_invariant = false});
    EXPECT_TRUE(at::allclose(Forward(*plain, input), output, 1e-4, 1e-5));
    // And time, and class where there is one, matter.
    NetworkInput other = input;
    other.timesteps = input.timesteps + 100;
    EXPECT_FALSE(at::allclose(Forward(*network, other), output, 1e-4, 1e-5));
    if (input.conditions.class_labels.defined()) {
      other = input;
      other.conditions.class_labels = 1 - input.conditions.class_labels.clamp(0, 1);
      EXPECT_FALSE(at::allclose(Forward(*network, other), output, 1e-4, 1e-5));
    }
  }
}

TEST(UNet2D, CenterInputSampleDoublesAndShifts) {
  const StateDict weights = RandomWeights(TinyJson(""));
  const auto plain = LoadNetwork({TinyJson(""), weights});
  const auto centred = LoadNetwork({TinyJson(R"("center_input_sample": true,)"), weights});
  NetworkInput input = RandomInput(*plain, 1, 1);
  const at::Tensor expected = Forward(*centred, input);
  input.x = input.x * 2 - 1;
  EXPECT_TRUE(at::equal(Forward(*plain, input), expected));
}

TEST(UNet2D, FourierNetworksDivideByTheTimestep) {
  // With frequencies of zero the network does not hear of the time but by that division.
  const std::string json = TinyJson(R"("time_embedding_type": "fourier",)");
  StateDict weights = RandomWeights(json);
  weights["time_proj.weight"].zero_();
  weights["time_proj.W"] = weights["time_proj.weight"];  // as older files have it
  const auto network = LoadNetwork({json, weights});
  NetworkInput input = RandomInput(*network, 1, 1);
  input.timesteps = at::full({1}, 2.0);
  const at::Tensor output = Forward(*network, input);
  input.timesteps = at::full({1}, 8.0);
  EXPECT_TRUE(at::allclose(Forward(*network, input) * 4, output));
}

TEST(UNet2D, LearnedTimeEmbeddingsTakeTheNearestRow) {
  const auto network =
      RandomNetwork(TinyJson(R"("time_embedding_type": "learned", "num_train_timesteps": 10,)"));
  const auto at_timestep = [&](double timestep) {
    NetworkInput input = RandomInput(*network, 1, 1);
    input.timesteps = at::full({1}, timestep);
    return Forward(*network, input);
  };
  EXPECT_TRUE(at::equal(at_timestep(3.2), at_timestep(3)));
  EXPECT_FALSE(at::equal(at_timestep(4), at_timestep(3)));
  EXPECT_TRUE(at::equal(at_timestep(500), at_timestep(9)));
}

TEST(UNet2D, AConvertedNetworkComputesTheSameInItsOwnDtype) {
  const auto network = LoadNetwork(ReadReferenceUNet("class-conditional-v"));
  const NetworkInput input = RandomInput(*network, 2, 1);
  const at::Tensor expected = Forward(*network, input);
  const auto bfloat16 = network->To(at::kCPU, at::kBFloat16);
  EXPECT_EQ(bfloat16->dtype(), at::kBFloat16);
  const at::Tensor output = Forward(*bfloat16, input);
  EXPECT_EQ(output.scalar_type(), at::kFloat);
  EXPECT_LT((output - expected).abs().max().item<double>(),
            0.05 * expected.abs().max().item<double>());
  EXPECT_EQ(network->To(at::kCPU, at::kFloat), network);
  EXPECT_EQ(network->To(at::kCPU, at::kDouble)->dtype(), at::kDouble);
  EXPECT_TRUE(
      at::allclose(Forward(*network->To(at::kCPU, at::kDouble), input), expected, 1e-4, 1e-5));
  EXPECT_EQ(bfloat16->spec().num_parameters, network->spec().num_parameters);
}

// Those that reach the parameters are in unet2d_training_test.cc.
TEST(UNet2D, GradientsReachTheInput) {
  const auto network = RandomNetwork(TinyJson(""));
  NetworkInput input = RandomInput(*network, 1, 1);
  const at::Tensor direction = at::randn_like(input.x);
  const at::Tensor start = input.x.clone();
  input.x = start.clone().requires_grad_();
  network->Forward(input).sum().backward();
  const double slope = (input.x.grad() * direction).sum().item<double>();
  const auto sum_at = [&](double step) {
    NetworkInput moved = input;
    moved.x = start + direction * step;
    return Forward(*network, moved).to(at::kDouble).sum().item<double>();
  };
  constexpr double kStep = 1e-2;
  const double difference = (sum_at(kStep) - sum_at(-kStep)) / (2 * kStep);
  EXPECT_NEAR(slope, difference, 0.02 * std::max(1.0, std::abs(difference)));
}

}  // namespace
}  // namespace denoise
