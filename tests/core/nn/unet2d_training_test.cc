// Gradients through the network, and networks to begin with.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/base/field_violations.h"
#include "tests/core/nn/test_checkpoints.h"

namespace denoise {
namespace {

constexpr UNet2DOptions kTraining = {.batch_invariant = false};

struct Variant {
  std::string name;
  std::string config_json;
};

// Of everything that a layer can be, in two levels of few channels.
std::vector<Variant> Variants() {
  std::vector<Variant> variants;
  for (const std::string& name : ReferenceCheckpoints()) {
    variants.push_back({name, ReadReferenceUNet(name).config_json});
  }
  const auto add = [&](const std::string& name, const std::string& entries) {
    variants.push_back({name, "{" + entries + R"("sample_size": 8, "block_out_channels": [8, 16],
        "norm_num_groups": 4, "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "UpBlock2D"], "layers_per_block": 1})"});
  };
  add("fourier", R"("time_embedding_type": "fourier",)");
  add("learned time", R"("time_embedding_type": "learned", "num_train_timesteps": 1000,)");
  add("class as timestep", R"("class_embed_type": "timestep",)");
  add("scale shift", R"("resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 2,
                        "mid_block_scale_factor": 1.5, "attention_head_dim": null,)");
  add("resnet resampling",
      R"("downsample_type": "resnet", "upsample_type": "resnet", "num_class_embeds": 3,)");
  add("mish", R"("act_fn": "mish", "center_input_sample": true, "downsample_padding": 0,)");
  add("gelu", R"("act_fn": "gelu", "mid_block_type": null,)");
  return variants;
}

// What a training step does with its network.
class Training {
 public:
  Training(const std::string& config_json, const StateDict& weights, int64_t rows)
      : config_(ParseUNet2DConfig(config_json).value()) {
    for (const auto& [name, tensor] : weights) {
      if (name == "time_proj.W") continue;
      parameters_[name] = tensor.to(at::kFloat).clone().requires_grad_();
    }
    const auto network = Bind(at::kFloat);
    input_ = RandomInput(*network, rows, 5);
    const NetworkSpec& spec = network->spec();
    direction_ =
        at::randn({rows, spec.out_channels, spec.sample.height, spec.sample.width}, generator_);
  }

  std::shared_ptr<const Network> Bind(at::ScalarType dtype,
                                      const UNet2DOptions& options = kTraining) const {
    return BindUNet2D(config_, parameters_, dtype, options);
  }

  at::Tensor Loss(at::ScalarType dtype, const UNet2DOptions& options = kTraining) const {
    return (Bind(dtype, options)->Forward(input_).to(at::kDouble) * direction_).sum();
  }

  StateDict Gradients(at::ScalarType dtype, const UNet2DOptions& options = kTraining) {
    for (auto& [name, parameter] : parameters_) parameter.mutable_grad().reset();
    Loss(dtype, options).backward();
    StateDict gradients;
    for (const auto& [name, parameter] : parameters_) gradients[name] = parameter.grad();
    return gradients;
  }

  // The derivative of the loss along a random direction of the parameters `names`, once from
  // `gradients` and once from losses on both sides.
  std::pair<double, double> Slopes(const std::vector<std::string>& names,
                                   const StateDict& gradients) {
    const at::NoGradGuard no_grad;
    StateDict along, before;
    double count = 0;
    for (const std::string& name : names) {
      before[name] = parameters_.at(name).clone();
      along[name] = at::randn(before[name].sizes(), generator_);
      count += static_cast<double>(before[name].numel());
    }
    const double step = kDistance / std::sqrt(count);
    double slope = 0;
    const auto loss_at = [&](double sign) {
      for (const auto& [name, direction] : along) {
        const at::Tensor moved = before[name] + direction * (sign * step);
        // As far as float32 lets it move.
        const at::Tensor by = moved.to(at::kDouble) - before[name].to(at::kDouble);
        slope += sign * (gradients.at(name).to(at::kDouble) * by).sum().item<double>();
        parameters_.at(name).copy_(moved);
      }
      return Loss(at::kDouble).item<double>();
    };
    const double difference = loss_at(1) - loss_at(-1);
    for (const auto& [name, tensor] : before) parameters_.at(name).copy_(tensor);
    return {slope / (2 * step), difference / (2 * step)};
  }

  const StateDict& parameters() const { return parameters_; }
  const NetworkInput& input() const { return input_; }

 private:
  static constexpr double kDistance = 0.03;  // between the parameters and those to both sides

  const UNet2DConfig config_;
  at::Generator generator_ = at::detail::createCPUGenerator(11);
  StateDict parameters_;
  NetworkInput input_;
  at::Tensor direction_;
};

// Scores q (k + b) of one query all change by the same q b, which softmax does not see.
bool HasNoEffect(const std::string& name) {
  return name.ends_with("to_k.bias") || name.ends_with("key.bias");
}

// Attention that looks at some pixels more than at others: else its queries and keys hardly matter.
StateDict WeightsOf(const std::string& config_json) {
  StateDict weights = RandomWeights(config_json);
  for (auto& [name, tensor] : weights) {
    if (name.find("to_q") != name.npos || name.find("to_k") != name.npos) tensor = tensor * 2;
  }
  return weights;
}

TEST(BindUNet2D, GradientsAgreeWithFiniteDifferences) {
  constexpr size_t kGroups = 6;
  for (const Variant& variant : Variants()) {
    SCOPED_TRACE(variant.name);
    Training training(variant.config_json, WeightsOf(variant.config_json), 2);
    const StateDict gradients = training.Gradients(at::kDouble);
    std::vector<std::string> groups[kGroups];
    double squares[kGroups] = {};
    size_t next = 0;
    for (const auto& [name, gradient] : gradients) {
      if (!gradient.defined()) continue;
      const size_t group = next++ % kGroups;
      groups[group].push_back(name);
      squares[group] += gradient.square().sum().item<double>();
    }
    for (size_t group = 0; group < kGroups; ++group) {
      const auto [slope, difference] = training.Slopes(groups[group], gradients);
      EXPECT_NEAR(slope, difference, 1e-3 * std::sqrt(squares[group])) << "group " << group;
    }
  }
}

TEST(BindUNet2D, EveryParameterExceptFourierFrequenciesHasAGradient) {
  for (const Variant& variant : Variants()) {
    SCOPED_TRACE(variant.name);
    Training training(variant.config_json, WeightsOf(variant.config_json), 2);
    for (const auto& [name, gradient] : training.Gradients(at::kFloat)) {
      SCOPED_TRACE(name);
      if (variant.name == "fourier" && name == "time_proj.weight") {
        EXPECT_FALSE(gradient.defined());
        continue;
      }
      ASSERT_TRUE(gradient.defined());
      EXPECT_EQ(gradient.scalar_type(), at::kFloat);
      const double size = gradient.norm().item<double>();
      if (HasNoEffect(name)) {
        EXPECT_LT(size, 1e-5);
      } else {
        EXPECT_GT(size, 1e-4);
      }
    }
  }
}

TEST(BindUNet2D, GradientsInFloat32AreThoseInDouble) {
  for (const Variant& variant : Variants()) {
    SCOPED_TRACE(variant.name);
    Training training(variant.config_json, WeightsOf(variant.config_json), 3);
    const StateDict expected = training.Gradients(at::kDouble);
    for (const bool batch_invariant : {false, true}) {
      for (const auto& [name, gradient] :
           training.Gradients(at::kFloat, {.batch_invariant = batch_invariant})) {
        ASSERT_EQ(gradient.defined(), expected.at(name).defined()) << name;
        if (!gradient.defined()) continue;
        const double size = expected.at(name).norm().item<double>();
        EXPECT_LT((gradient - expected.at(name)).norm().item<double>(), 1e-4 * size + 1e-4) << name;
      }
    }
  }
}

TEST(BindUNet2D, MixedPrecisionKeepsGradientsInFloat32) {
  for (const Variant& variant : Variants()) {
    SCOPED_TRACE(variant.name);
    Training training(variant.config_json, RandomWeights(variant.config_json), 2);
    const StateDict expected = training.Gradients(at::kFloat);
    for (const auto& [name, gradient] : training.Gradients(at::kBFloat16)) {
      if (!gradient.defined() || HasNoEffect(name)) continue;
      EXPECT_EQ(gradient.scalar_type(), at::kFloat) << name;
      const at::Tensor& exact = expected.at(name);
      const double cosine =
          ((gradient * exact).sum() / (gradient.norm() * exact.norm())).item<double>();
      EXPECT_GT(cosine, 0.9) << name;
    }
  }
}

TEST(BindUNet2D, ComputesWhatACreatedNetworkDoes) {
  for (const Variant& variant : Variants()) {
    SCOPED_TRACE(variant.name);
    const StateDict weights = RandomWeights(variant.config_json);
    const Training training(variant.config_json, weights, 3);
    const auto created = LoadNetwork({variant.config_json, weights});
    const auto bound = training.Bind(at::kFloat, {.batch_invariant = true});
    EXPECT_EQ(bound->spec().num_parameters, created->spec().num_parameters);
    const at::Tensor with_gradient = bound->Forward(training.input());
    const at::NoGradGuard no_grad;
    const at::Tensor expected = created->Forward(training.input());
    EXPECT_TRUE(at::equal(bound->Forward(training.input()), expected));
    EXPECT_TRUE(at::allclose(with_gradient, expected, 1e-4, 1e-5));
    EXPECT_TRUE(
        at::allclose(training.Bind(at::kFloat)->Forward(training.input()), expected, 1e-4, 1e-5));
  }
}

TEST(BindUNet2D, GradientsAreReproducibleWithTwoThreads) {
  const int threads_before = at::get_num_threads();
  at::set_num_threads(2);
  const UNetFolder starter = ReadUNetFolder("deploy/models/emoji-32");
  Training training(starter.config_json, starter.weights, 4);
  const StateDict first = training.Gradients(at::kFloat);
  for (const auto& [name, gradient] : training.Gradients(at::kFloat)) {
    EXPECT_TRUE(at::equal(gradient, first.at(name))) << name;
  }
  at::set_num_threads(threads_before);
}

TEST(BindUNet2D, ParametersMayChangeBetweenCalls) {
  const Variant variant = Variants().front();
  Training training(variant.config_json, WeightsOf(variant.config_json), 2);
  const StateDict first = training.Gradients(at::kFloat);
  {
    const at::NoGradGuard no_grad;
    for (const auto& [name, parameter] : training.parameters())
      parameter.sub_(first.at(name), 1e-4);
  }
  const double before = training.Loss(at::kFloat).item<double>();
  const StateDict second = training.Gradients(at::kFloat);
  EXPECT_FALSE(at::equal(second.at("conv_in.weight"), first.at("conv_in.weight")));
  EXPECT_TRUE(std::isfinite(before));
}

TEST(BindUNet2D, ParametersOfAnotherNetworkThrow) {
  const Variant variant = Variants().front();
  const UNet2DConfig config = ParseUNet2DConfig(variant.config_json).value();
  StateDict weights = RandomWeights(variant.config_json);
  weights.erase("conv_in.bias");
  EXPECT_THROW(BindUNet2D(config, weights, at::kFloat, {}), c10::Error);
  EXPECT_THROW(BindUNet2D(config, {}, at::kFloat, {}), c10::Error);
}

TEST(CheckTrainable, DropoutIsRefused) {
  UNet2DConfig config = ParseUNet2DConfig(Variants().front().config_json).value();
  EXPECT_TRUE(CheckTrainable(config).ok());
  config.dropout = 0.1;
  EXPECT_EQ(GetFieldViolations(CheckTrainable(config)).front().field, "dropout");
}

TEST(InitializeUNet2D, MakesExactlyTheNetworksTensors) {
  for (const Variant& variant : Variants()) {
    SCOPED_TRACE(variant.name);
    const UNet2DConfig config = ParseUNet2DConfig(variant.config_json).value();
    const auto network = CreateUNet2D(config, InitializeUNet2D(config, 1), {});
    ASSERT_TRUE(network.ok()) << network.status();
    EXPECT_EQ(CountUNet2DParameters(config), (*network)->spec().num_parameters);
  }
}

TEST(InitializeUNet2D, DrawsLikePyTorch) {
  const UNet2DConfig config =
      ParseUNet2DConfig(ReadReferenceUNet("class-conditional-v").config_json).value();
  const StateDict weights = InitializeUNet2D(config, 3);
  const auto expect_uniform = [&](const std::string& layer, double fan_in) {
    SCOPED_TRACE(layer);
    const double bound = 1 / std::sqrt(fan_in);
    const at::Tensor weight = weights.at(layer + ".weight").flatten();
    const at::Tensor bias = weights.at(layer + ".bias");
    EXPECT_LE(weight.abs().max().item<double>(), bound);
    EXPECT_LE(bias.abs().max().item<double>(), bound);
    EXPECT_GT(bias.abs().max().item<double>(), 0.5 * bound);
    // Of a uniform distribution, within four standard errors.
    const double n = static_cast<double>(weight.numel());
    EXPECT_NEAR(weight.mean().item<double>(), 0, 4 * bound / std::sqrt(3 * n));
    EXPECT_NEAR(weight.square().mean().item<double>() / (bound * bound), 1.0 / 3,
                4 * std::sqrt(4.0 / 45 / n));
  };
  const int64_t channels = config.block_out_channels[0];
  expect_uniform("conv_in", 9.0 * 3);
  expect_uniform("conv_out", 9.0 * static_cast<double>(channels));
  expect_uniform("time_embedding.linear_1", static_cast<double>(channels));
  expect_uniform("time_embedding.linear_2", static_cast<double>(config.time_embedding_dim));
  EXPECT_TRUE(weights.at("conv_norm_out.weight").equal(at::ones({channels})));
  EXPECT_TRUE(weights.at("conv_norm_out.bias").equal(at::zeros({channels})));
  const at::Tensor table = weights.at("class_embedding.weight");
  EXPECT_NEAR(table.square().mean().item<double>(), 1,
              4 * std::sqrt(2.0 / static_cast<double>(table.numel())));
}

TEST(InitializeUNet2D, ASeedGivesTheSameWeightsEverywhere) {
  const UNet2DConfig config =
      ParseUNet2DConfig(ReadReferenceUNet("class-conditional-v").config_json).value();
  const StateDict weights = InitializeUNet2D(config, 7);
  for (const auto& [name, tensor] : InitializeUNet2D(config, 7)) {
    EXPECT_TRUE(tensor.equal(weights.at(name))) << name;
  }
  EXPECT_FALSE(
      InitializeUNet2D(config, 8).at("conv_in.weight").equal(weights.at("conv_in.weight")));
  EXPECT_FLOAT_EQ(weights.at("class_embedding.weight").flatten()[0].item<float>(), 0.0662675425F);
  EXPECT_EQ(weights.at("conv_in.bias")[0].item<float>(), 0.0653524548F);
}

}  // namespace
}  // namespace denoise
