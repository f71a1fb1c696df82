#include "core/text/encoders/clip_text_encoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/nn/row_adapters.h"
#include "core/nn/weight_reader.h"

namespace denoise {
namespace {

using nn::Initial;
using nn::RowAdapters;
using nn::WeightReader;
using nn::WeightSource;

constexpr char kPrefix[] = "text_model.";
constexpr char kProjection[] = "text_projection";
// The `eos_token_id` of configs from before the library pooled at the end by its id. Their texts
// are pooled at the highest id, which is the end in CLIP's own vocabulary.
constexpr int64_t kOldEndId = 2;
const Initial kMatrix = Initial::Normal(0.02);  // the library's initializer_range

struct Linear {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out], or undefined
  std::string name;

  // x [B, ..., in] -> [B, ..., out].
  at::Tensor operator()(const at::Tensor& x, const RowAdapters& adapters) const {
    at::Tensor y = at::linear(x, weight, bias);
    if (!adapters.empty()) adapters.AddLinear(name, x, y);
    return y;
  }
};

struct LayerNorm {
  at::Tensor weight;  // [width]
  at::Tensor bias;    // [width]
  double eps = 1e-5;

  at::Tensor operator()(const at::Tensor& x) const {
    return at::layer_norm(x, weight.sizes(), weight, bias, eps);
  }
};

// Takes a text model's tensors, whose names may lack the prefix.
class Loader {
 public:
  Loader(WeightSource& source, const ClipTextConfig& config) : source_(source), config_(config) {}

  at::Tensor TakeMatrix(const std::string& name, int64_t rows, int64_t columns) const {
    return Take(name, {rows, columns}, kMatrix);
  }
  Linear TakeLinear(const std::string& name, int64_t in, int64_t out) const {
    return {TakeMatrix(name + ".weight", out, in),
            Take(name + ".bias", {out}, Initial::Constant(0)), kPrefix + name};
  }
  LayerNorm TakeNorm(const std::string& name) const {
    const int64_t width = config_.hidden_size;
    return {Take(name + ".weight", {width}, Initial::Constant(1)),
            Take(name + ".bias", {width}, Initial::Constant(0)), config_.layer_norm_eps};
  }
  Linear TakeProjection() const {
    return {.weight = source_.Take({std::string(kProjection) + ".weight"},
                                   {config_.projection_dim, config_.hidden_size}, kMatrix),
            .name = kProjection};
  }

 private:
  at::Tensor Take(const std::string& name, at::IntArrayRef shape, Initial initial) const {
    return source_.Take({kPrefix + name, name}, shape, initial);
  }

  WeightSource& source_;
  const ClipTextConfig& config_;
};

at::Tensor Activate(TextActivation activation, const at::Tensor& x) {
  switch (activation) {
    case TextActivation::kQuickGelu:
      return x * at::sigmoid(x * 1.702);
    case TextActivation::kGelu:
      return at::gelu(x);
    case TextActivation::kGeluTanh:
      return at::gelu(x, "tanh");
    case TextActivation::kRelu:
      return at::relu(x);
    case TextActivation::kSilu:
      return at::silu(x);
  }
  return x;
}

// Attention of each token to itself and those before it, then two linear layers.
struct Layer {
  LayerNorm norm_1, norm_2;
  Linear query, key, value, output;
  Linear inner, outer;
  TextActivation activation = TextActivation::kQuickGelu;
  int64_t heads = 1;

  static Layer Load(const Loader& loader, const std::string& name, const ClipTextConfig& config) {
    const int64_t width = config.hidden_size;
    const auto projection = [&](const char* which) {
      return loader.TakeLinear(name + ".self_attn." + which, width, width);
    };
    return {.norm_1 = loader.TakeNorm(name + ".layer_norm1"),
            .norm_2 = loader.TakeNorm(name + ".layer_norm2"),
            .query = projection("q_proj"),
            .key = projection("k_proj"),
            .value = projection("v_proj"),
            .output = projection("out_proj"),
            .inner = loader.TakeLinear(name + ".mlp.fc1", width, config.intermediate_size),
            .outer = loader.TakeLinear(name + ".mlp.fc2", config.intermediate_size, width),
            .activation = config.hidden_act,
            .heads = config.num_attention_heads};
  }

  // x [B, T, width], mask [T, T] float32 -> [B, T, width].
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& mask,
                        const RowAdapters& adapters) const {
    const at::Tensor attended = x + Attend(norm_1(x), mask, adapters);
    const at::Tensor hidden = Activate(activation, inner(norm_2(attended), adapters));
    return attended + outer(hidden, adapters);
  }

 private:
  at::Tensor Attend(const at::Tensor& x, const at::Tensor& mask,
                    const RowAdapters& adapters) const {
    const int64_t batch = x.size(0), tokens = x.size(1), width = x.size(2);
    const int64_t head_width = width / heads;
    const auto by_head = [&](const at::Tensor& projected) {
      return projected.view({batch, tokens, heads, head_width})
          .transpose(1, 2)
          .reshape({batch * heads, tokens, head_width});
    };
    const at::Tensor q =
        by_head(query(x, adapters) * (1 / std::sqrt(static_cast<double>(head_width))));
    const at::Tensor scores = at::bmm(q, by_head(key(x, adapters)).transpose(1, 2));
    // Softmax in float32, whatever the encoder runs in.
    const at::Tensor weights = at::softmax(scores.to(at::kFloat) + mask, -1).to(x.scalar_type());
    const at::Tensor mixed = at::bmm(weights, by_head(value(x, adapters)));
    return output(mixed.view({batch, heads, tokens, head_width})
                      .transpose(1, 2)
                      .reshape({batch, tokens, width}),
                  adapters);
  }
};

// The position of the end of a text, where its pooled state is taken.
int64_t EndPosition(const std::vector<int64_t>& ids, int64_t eos_token_id) {
  if (eos_token_id == kOldEndId) return std::max_element(ids.begin(), ids.end()) - ids.begin();
  const auto found = std::find(ids.begin(), ids.end(), eos_token_id);
  return found == ids.end() ? 0 : found - ids.begin();  // as in the library
}

}  // namespace

struct ClipTextEncoder::Parts {
  ClipTextConfig config;
  at::Device device;
  at::ScalarType dtype;
  at::Tensor token_embedding;     // [vocab_size, width]
  at::Tensor position_embedding;  // [max_position_embeddings, width]
  std::vector<Layer> layers;
  LayerNorm final_norm;
  Linear projection;  // without a bias; its weight may be undefined
  StateDict parameters;

  // Do not use the result if `reader` has errors.
  static std::shared_ptr<const Parts> Load(const ClipTextConfig& config, WeightReader& reader,
                                           at::Device device, at::ScalarType dtype);
  // All but `parameters`.
  static Parts Take(const ClipTextConfig& config, WeightSource& source, at::Device device,
                    at::ScalarType dtype);

  void Check(const std::vector<std::vector<int64_t>>& texts, const TextStateOptions& options) const;
  EncodedTexts EncodeBatch(const std::vector<std::vector<int64_t>>& texts,
                           const TextStateOptions& options, const TextAdapters& applied) const;
  // texts -> [B, T, width] in the encoder's dtype.
  at::Tensor Embed(const std::vector<std::vector<int64_t>>& texts) const;
  // Normalised states of the last layer [B, T, width] -> [B, pooled_width] float32.
  at::Tensor Pool(const at::Tensor& states, const std::vector<std::vector<int64_t>>& texts,
                  const RowAdapters& adapters) const;
};

std::shared_ptr<const ClipTextEncoder::Parts> ClipTextEncoder::Parts::Load(
    const ClipTextConfig& config, WeightReader& reader, at::Device device, at::ScalarType dtype) {
  const auto parts = std::make_shared<Parts>(Take(config, reader, device, dtype));
  parts->parameters = reader.taken();
  return parts;
}

ClipTextEncoder::Parts ClipTextEncoder::Parts::Take(const ClipTextConfig& config,
                                                    WeightSource& source, at::Device device,
                                                    at::ScalarType dtype) {
  const int64_t width = config.hidden_size;
  const Loader loader(source, config);
  Parts parts{.config = config,
              .device = device,
              .dtype = dtype,
              .token_embedding =
                  loader.TakeMatrix("embeddings.token_embedding.weight", config.vocab_size, width),
              .position_embedding = loader.TakeMatrix("embeddings.position_embedding.weight",
                                                      config.max_position_embeddings, width)};
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    parts.layers.push_back(Layer::Load(loader, "encoder.layers." + std::to_string(i), config));
  }
  parts.final_norm = loader.TakeNorm("final_layer_norm");
  if (config.with_projection.value_or(false)) parts.projection = loader.TakeProjection();
  return parts;
}

void ClipTextEncoder::Parts::Check(const std::vector<std::vector<int64_t>>& texts,
                                   const TextStateOptions& options) const {
  TORCH_CHECK(!texts.empty(), "there is no text to encode");
  TORCH_CHECK(options.skip_layers >= 0 && options.skip_layers <= config.num_hidden_layers,
              "skip_layers must be between 0 and ", config.num_hidden_layers, ", is ",
              options.skip_layers);
  const size_t tokens = texts.front().size();
  TORCH_CHECK(tokens > 0 && static_cast<int64_t>(tokens) <= config.max_position_embeddings,
              "a text has ", tokens, " ids, must have 1 to ", config.max_position_embeddings);
  for (const std::vector<int64_t>& ids : texts) {
    TORCH_CHECK(ids.size() == tokens, "texts of one call must have as many ids as each other");
    // Checked here, because on an accelerator a wrong index ends the process's use of the device.
    for (const int64_t id : ids) {
      TORCH_CHECK(id >= 0 && id < config.vocab_size, "the id ", id, " is not in a vocabulary of ",
                  config.vocab_size);
    }
  }
}

at::Tensor ClipTextEncoder::Parts::Embed(const std::vector<std::vector<int64_t>>& texts) const {
  const auto batch = static_cast<int64_t>(texts.size());
  const auto tokens = static_cast<int64_t>(texts.front().size());
  std::vector<int64_t> ids;
  for (const std::vector<int64_t>& text : texts) ids.insert(ids.end(), text.begin(), text.end());
  const at::Tensor index = at::tensor(ids, at::kLong).to(device);
  return at::index_select(token_embedding, 0, index).view({batch, tokens, config.hidden_size}) +
         position_embedding.narrow(0, 0, tokens);
}

at::Tensor ClipTextEncoder::Parts::Pool(const at::Tensor& states,
                                        const std::vector<std::vector<int64_t>>& texts,
                                        const RowAdapters& adapters) const {
  std::vector<at::Tensor> rows;
  for (size_t i = 0; i < texts.size(); ++i) {
    rows.push_back(states[static_cast<int64_t>(i)][EndPosition(texts[i], config.eos_token_id)]);
  }
  const at::Tensor pooled = at::stack(rows);
  return (projection.weight.defined() ? projection(pooled, adapters) : pooled).to(at::kFloat);
}

EncodedTexts ClipTextEncoder::Parts::EncodeBatch(const std::vector<std::vector<int64_t>>& texts,
                                                 const TextStateOptions& options,
                                                 const TextAdapters& applied) const {
  const RowAdapters adapters = RowAdapters::ForText(
      applied.adapters, applied.index, static_cast<int64_t>(texts.size()), device, dtype);
  const auto tokens = static_cast<int64_t>(texts.front().size());
  const at::Tensor mask = at::full({tokens, tokens}, -std::numeric_limits<float>::infinity(),
                                   at::TensorOptions().dtype(at::kFloat).device(device))
                              .triu(1);
  const int64_t wanted = config.num_hidden_layers - options.skip_layers;
  at::Tensor x = Embed(texts), states = x;
  const int64_t needed = options.pooled ? config.num_hidden_layers : wanted;
  for (int64_t i = 0; i < needed; ++i) {
    x = layers[static_cast<size_t>(i)](x, mask, adapters);
    if (i + 1 == wanted) states = x;
  }
  EncodedTexts encoded{.states = (options.final_norm ? final_norm(states) : states).to(at::kFloat)};
  if (options.pooled) encoded.pooled = Pool(final_norm(x), texts, adapters);
  return encoded;
}

LayerShapes ClipTextLayers(const ClipTextConfig& config) {
  const int64_t width = config.hidden_size, inner = config.intermediate_size;
  LayerShapes layers;
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string layer = kPrefix + ("encoder.layers." + std::to_string(i));
    for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
      layers[layer + ".self_attn." + name] = {width, width};
    }
    layers[layer + ".mlp.fc1"] = {inner, width};
    layers[layer + ".mlp.fc2"] = {width, inner};
  }
  if (config.with_projection.value_or(false)) layers[kProjection] = {config.projection_dim, width};
  return layers;
}

ClipTextEncoder::ClipTextEncoder(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}
ClipTextEncoder::~ClipTextEncoder() = default;

absl::StatusOr<std::shared_ptr<const ClipTextEncoder>> ClipTextEncoder::Create(
    const ClipTextConfig& config, const NamedTensors& weights, const Placement& placement) {
  ClipTextConfig decided = config;
  if (!decided.with_projection) {
    decided.with_projection = weights.contains("text_projection.weight");
  }
  const auto [device, dtype] = placement;
  WeightReader reader(weights, device, dtype);
  reader.Ignore("embeddings.position_ids");
  reader.Ignore(absl::StrCat(kPrefix, "embeddings.position_ids"));
  const std::shared_ptr<const ClipTextEncoder> encoder(
      new ClipTextEncoder(Parts::Load(decided, reader, device, dtype)));
  RETURN_IF_ERROR(reader.Finish());
  return encoder;
}

EncodedTexts ClipTextEncoder::Encode(const std::vector<std::vector<int64_t>>& texts,
                                     const TextStateOptions& options,
                                     const TextAdapters& adapters) const {
  parts_->Check(texts, options);
  if (!parts_->device.is_cpu()) return parts_->EncodeBatch(texts, options, adapters);
  // The order in which a matrix product sums depends on its shape. On the CPU a text fills it alone
  // as well as several do.
  std::vector<at::Tensor> states, pooled;
  for (const std::vector<int64_t>& text : texts) {
    const EncodedTexts encoded = parts_->EncodeBatch({text}, options, adapters);
    states.push_back(encoded.states);
    if (options.pooled) pooled.push_back(encoded.pooled);
  }
  return {.states = at::cat(states), .pooled = options.pooled ? at::cat(pooled) : at::Tensor()};
}

std::shared_ptr<const ClipTextEncoder> ClipTextEncoder::To(at::Device device,
                                                           at::ScalarType dtype) const {
  if (device == parts_->device && dtype == parts_->dtype) {
    return std::shared_ptr<const ClipTextEncoder>(new ClipTextEncoder(parts_));
  }
  WeightReader reader(parts_->parameters, device, dtype);
  return std::shared_ptr<const ClipTextEncoder>(
      new ClipTextEncoder(Parts::Load(parts_->config, reader, device, dtype)));
}

const ClipTextConfig& ClipTextEncoder::config() const { return parts_->config; }
at::Device ClipTextEncoder::device() const { return parts_->device; }
at::ScalarType ClipTextEncoder::dtype() const { return parts_->dtype; }
const StateDict& ClipTextEncoder::parameters() const { return parts_->parameters; }

int64_t ClipTextEncoder::pooled_width() const {
  return parts_->projection.weight.defined() ? parts_->config.projection_dim
                                             : parts_->config.hidden_size;
}

int64_t ClipTextEncoder::num_parameters() const {
  int64_t count = 0;
  for (const auto& [name, tensor] : parts_->parameters) count += tensor.numel();
  return count;
}

nn::WeightInitializer ClipTextInitializer(const ClipTextConfig& config) {
  nn::WeightInitializer initializer;
  ClipTextEncoder::Parts::Take(config, initializer, at::kCPU, at::kFloat);
  return initializer;
}

int64_t CountClipTextParameters(const ClipTextConfig& config) {
  return ClipTextInitializer(config).count();
}

}  // namespace denoise
