#include "core/text/encoders/clip_text_encoder.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/text/encoders/prompt_states.h"
#include "tests/core/text/encoders/encoder_testing.h"

namespace denoise {
namespace {

using testing::HasSubstr;

constexpr char kFolder[] = "tests/data/pipelines/sdxl-like/text_encoder_2";

// The folder's weights under other names.
StateDict Renamed(const StateDict& weights, const std::string& old_prefix,
                  const std::string& new_prefix) {
  StateDict renamed;
  for (const auto& [name, tensor] : weights) {
    const bool has = name.starts_with(old_prefix);
    renamed[has ? new_prefix + name.substr(old_prefix.size()) : name] = tensor;
  }
  return renamed;
}

class ClipTextEncoderTest : public testing::Test {
 protected:
  std::string CreationError(const ClipTextConfig& config, const StateDict& weights) {
    const auto encoder = ClipTextEncoder::Create(config, weights);
    EXPECT_EQ(encoder.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(encoder.status().message());
  }

  const c10::InferenceMode inference_;
  ClipTextConfig config_ = ReadTextConfig(kFolder);
  StateDict weights_ = ReadTextWeights(kFolder);
  // 813 is the end.
  const std::vector<std::vector<int64_t>> texts_ = {{812, 320, 550, 813, 0, 0},
                                                    {812, 71, 813, 0, 0, 0}};
};

TEST_F(ClipTextEncoderTest, TakesNamesWithAndWithoutPrefix) {
  const auto with = ClipTextEncoder::Create(config_, weights_).value();
  const auto without =
      ClipTextEncoder::Create(config_, Renamed(weights_, "text_model.", "")).value();
  EXPECT_TRUE(with->Encode(texts_).states.equal(without->Encode(texts_).states));
  EXPECT_TRUE(without->parameters().contains("text_model.final_layer_norm.weight"));
  EXPECT_TRUE(without->parameters().contains("text_projection.weight"));
}

TEST_F(ClipTextEncoderTest, IgnoresPositionIdsAndNothingElse) {
  weights_["text_model.embeddings.position_ids"] = at::arange(77);
  EXPECT_TRUE(ClipTextEncoder::Create(config_, weights_).ok());
  weights_["text_model.extra"] = at::zeros({1});
  EXPECT_THAT(CreationError(config_, weights_), HasSubstr("text_model.extra: is unexpected"));
}

TEST_F(ClipTextEncoderTest, NamesMissingAndMisshapenWeights) {
  weights_.erase("text_model.encoder.layers.1.mlp.fc1.bias");
  weights_["text_model.final_layer_norm.weight"] = at::ones({3});
  const std::string error = CreationError(config_, weights_);
  EXPECT_THAT(error, HasSubstr("text_model.encoder.layers.1.mlp.fc1.bias: is missing"));
  EXPECT_THAT(error, HasSubstr("text_model.final_layer_norm.weight: has shape [3]"));
}

TEST_F(ClipTextEncoderTest, ProjectsIfTheConfigSaysSoElseIfTheWeightsDo) {
  EXPECT_EQ(ClipTextEncoder::Create(config_, weights_).value()->pooled_width(), 24);
  config_.with_projection.reset();
  EXPECT_EQ(ClipTextEncoder::Create(config_, weights_).value()->pooled_width(), 24);
  config_.with_projection = false;
  EXPECT_THAT(CreationError(config_, weights_), HasSubstr("text_projection.weight: is unexpected"));
  weights_.erase("text_projection.weight");
  const auto plain = ClipTextEncoder::Create(config_, weights_).value();
  EXPECT_EQ(plain->pooled_width(), 40);
  EXPECT_EQ(plain->Encode(texts_).pooled.sizes(), (at::IntArrayRef{2, 40}));
  config_.with_projection = true;
  EXPECT_THAT(CreationError(config_, weights_), HasSubstr("text_projection.weight: is missing"));
}

TEST_F(ClipTextEncoderTest, PoolsAtTheEndByEitherConvention) {
  weights_.erase("text_projection.weight");
  config_.with_projection = false;
  const std::vector<std::vector<int64_t>> text = {{812, 5, 600, 5, 813, 0}};
  const auto pooled_at = [&](int64_t eos_token_id, int64_t position) {
    config_.eos_token_id = eos_token_id;
    const EncodedTexts encoded = ClipTextEncoder::Create(config_, weights_).value()->Encode(text);
    return encoded.pooled[0].equal(encoded.states[0][position]);
  };
  EXPECT_TRUE(pooled_at(2, 4));    // old: the highest id
  EXPECT_TRUE(pooled_at(5, 1));    // the first of these
  EXPECT_TRUE(pooled_at(700, 0));  // none
}

TEST_F(ClipTextEncoderTest, SkipsLayers) {
  const auto encoder = ClipTextEncoder::Create(config_, weights_).value();
  const auto states = [&](int64_t skip, bool pooled) {
    return encoder->Encode(texts_, {.skip_layers = skip, .final_norm = false, .pooled = pooled})
        .states;
  };
  for (int64_t skip = 0; skip <= config_.num_hidden_layers; ++skip) {
    // Those that are computed with all layers, and those that are not.
    EXPECT_TRUE(states(skip, true).equal(states(skip, false))) << skip;
    if (skip > 0) {
      EXPECT_FALSE(states(skip, false).equal(states(skip - 1, false))) << skip;
    }
  }
  EXPECT_FALSE(encoder->Encode(texts_, {.pooled = false}).pooled.defined());
  EXPECT_THROW(states(config_.num_hidden_layers + 1, true), c10::Error);
  EXPECT_THROW(states(-1, true), c10::Error);
}

TEST_F(ClipTextEncoderTest, ShowsEachTokenOnlyThoseBeforeIt) {
  const auto encoder = ClipTextEncoder::Create(config_, weights_).value();
  const at::Tensor a = encoder->Encode({{812, 320, 550, 813}}).states[0];
  const at::Tensor b = encoder->Encode({{812, 320, 71, 813}}).states[0];
  EXPECT_TRUE(a.narrow(0, 0, 2).equal(b.narrow(0, 0, 2)));
  EXPECT_FALSE(a[2].equal(b[2]));
  EXPECT_FALSE(a[3].equal(b[3]));
}

TEST_F(ClipTextEncoderTest, RefusesIdsAndShapesThatDoNotSuit) {
  const auto encoder = ClipTextEncoder::Create(config_, weights_).value();
  EXPECT_THROW(encoder->Encode({}), c10::Error);
  EXPECT_THROW(encoder->Encode({{}}), c10::Error);
  EXPECT_THROW(encoder->Encode({{814}}), c10::Error);
  EXPECT_THROW(encoder->Encode({{-1}}), c10::Error);
  EXPECT_THROW(encoder->Encode({{1, 2}, {1}}), c10::Error);
  EXPECT_THROW(encoder->Encode({std::vector<int64_t>(78, 1)}), c10::Error);
}

TEST_F(ClipTextEncoderTest, EveryActivationIsItsOwn) {
  std::vector<at::Tensor> states;
  for (const auto activation :
       {TextActivation::kQuickGelu, TextActivation::kGelu, TextActivation::kGeluTanh,
        TextActivation::kRelu, TextActivation::kSilu}) {
    config_.hidden_act = activation;
    states.push_back(ClipTextEncoder::Create(config_, weights_).value()->Encode(texts_).states);
    for (size_t i = 0; i + 1 < states.size(); ++i) {
      EXPECT_GT((states[i] - states.back()).abs().max().item<double>(), 1e-5);
    }
  }
}

TEST_F(ClipTextEncoderTest, RunsInOtherPrecisions) {
  const auto encoder = ClipTextEncoder::Create(config_, weights_).value();
  const auto same = encoder->To(at::kCPU, at::kFloat);
  EXPECT_EQ(same->parameters().begin()->second.data_ptr(),
            encoder->parameters().begin()->second.data_ptr());
  const auto half = encoder->To(at::kCPU, at::kBFloat16);
  EXPECT_EQ(half->dtype(), at::kBFloat16);
  EXPECT_EQ(half->num_parameters(), encoder->num_parameters());
  const EncodedTexts exact = encoder->Encode(texts_), rounded = half->Encode(texts_);
  EXPECT_EQ(rounded.states.scalar_type(), at::kFloat);
  const double error = (rounded.states - exact.states).abs().mean().item<double>();
  EXPECT_GT(error, 0);
  EXPECT_LT(error, 0.1 * exact.states.abs().mean().item<double>());
}

// At the width of Stable Diffusion 1, matrix products are cut up among threads.
TEST_F(ClipTextEncoderTest, WideTextsAreTheSameBitsInAnyBatch) {
  ClipTextConfig config;
  config.vocab_size = 1000;
  config.hidden_size = 768;
  config.intermediate_size = 3072;
  config.num_attention_heads = 12;
  config.num_hidden_layers = 2;
  config.with_projection = true;
  at::Generator generator = at::detail::createCPUGenerator(1);
  StateDict weights;
  const auto add = [&](const std::string& name, at::IntArrayRef shape, double scale) {
    weights[name] = at::randn(shape, generator) * scale;
  };
  add("embeddings.token_embedding.weight", {1000, 768}, 1);
  add("embeddings.position_embedding.weight", {77, 768}, 1);
  const auto norm = [&](const std::string& name) {
    add(name + ".weight", {768}, 1);
    add(name + ".bias", {768}, 0.1);
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    add(name + ".weight", {out, in}, 0.05);
    add(name + ".bias", {out}, 0.1);
  };
  for (const std::string layer : {"encoder.layers.0.", "encoder.layers.1."}) {
    for (const char* name : {"layer_norm1", "layer_norm2"}) norm(layer + name);
    for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
      linear(layer + "self_attn." + name, 768, 768);
    }
    linear(layer + "mlp.fc1", 3072, 768);
    linear(layer + "mlp.fc2", 768, 3072);
  }
  norm("final_layer_norm");
  add("text_projection.weight", {512, 768}, 0.05);
  const auto encoder = ClipTextEncoder::Create(config, weights).value();

  std::vector<std::vector<int64_t>> texts;
  for (int64_t i = 0; i < 5; ++i) {
    std::vector<int64_t>& ids = texts.emplace_back(77, 999);
    for (int64_t j = 0; j < 10 * i; ++j) ids[static_cast<size_t>(j)] = (i * 131 + j * 17) % 999;
  }
  const EncodedTexts together = encoder->Encode(texts);
  for (int64_t i = 0; i < 5; ++i) {
    const EncodedTexts alone = encoder->Encode({texts[static_cast<size_t>(i)]});
    EXPECT_TRUE(alone.states[0].equal(together.states[i])) << i;
    EXPECT_TRUE(alone.pooled[0].equal(together.pooled[i])) << i;
  }
}

TEST(ApplyWeights, LeavesStatesAloneWithoutWeights) {
  const at::Tensor states = at::randn({3, 4});
  EXPECT_EQ(ApplyWeights(states, {1, 1, 1}).data_ptr(), states.data_ptr());
  EXPECT_THROW(ApplyWeights(states, {1, 1}), c10::Error);
}

TEST(ApplyWeights, MultipliesAndRestoresTheMean) {
  const at::Tensor states = at::tensor({1.f, 2.f, 3.f, 6.f}).view({2, 2});
  const at::Tensor weighted = ApplyWeights(states, {1, 2});
  // 1, 2, 6, 12 have the mean 5.25; it was 3.
  const at::Tensor expected = at::tensor({1.f, 2.f, 6.f, 12.f}).view({2, 2}) * (3 / 5.25);
  EXPECT_TRUE(at::allclose(weighted, expected, 1e-6, 0));
  EXPECT_NEAR(weighted.mean().item<double>(), 3, 1e-6);
  // Where the mean cannot be restored, it is left.
  EXPECT_TRUE(ApplyWeights(states, {0, 0}).equal(at::zeros({2, 2})));
}

TEST(EncodePrompts, EncodesEachChunkAsATextOfItsOwn) {
  const c10::InferenceMode inference;
  const auto tokenizer = LoadTokenizer("tests/data/pipelines/sdxl-like/tokenizer_2");
  const auto encoder = LoadTextEncoder(kFolder);
  const PromptOptions options = {.syntax = true, .max_chunks = 3};
  const std::vector<TokenizedPrompt> prompts = {
      TokenizePrompt(*tokenizer, "a cat BREAK (a dog:1.5)", options).value(),
      TokenizePrompt(*tokenizer, "a dog", options).value(),
      TokenizePrompt(*tokenizer, "a cat", options).value()};
  const auto xl = TextStateOptions::StableDiffusionXl();
  const std::vector<PromptStates> encoded = EncodePrompts(*encoder, prompts, xl);
  ASSERT_EQ(encoded.size(), 3);
  EXPECT_EQ(encoded[0].states.sizes(), (at::IntArrayRef{154, 40}));
  EXPECT_TRUE(encoded[0].states.narrow(0, 0, 77).equal(encoded[2].states));
  EXPECT_TRUE(encoded[0].pooled.equal(encoded[2].pooled));
  const at::Tensor dog = ApplyWeights(encoded[1].states, prompts[0].chunks[1].weights);
  EXPECT_TRUE(encoded[0].states.narrow(0, 77, 77).equal(dog));
  EXPECT_FALSE(dog.equal(encoded[1].states));
}

}  // namespace
}  // namespace denoise
