#include "core/nn/unet2d_condition.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/nn/condition_embedding.h"
#include "core/nn/onednn.h"
#include "core/nn/unet_blocks.h"
#include "core/nn/weight_reader.h"

namespace denoise {
namespace nn {
namespace {

// The layers, in the order they run.
struct Layers {
  ConditionEmbedding embedding;
  Conv2d conv_in;
  std::vector<DownBlock> down_blocks;
  std::optional<MidBlock> mid_block;
  std::vector<UpBlock> up_blocks;
  GroupNorm norm_out;
  Conv2d conv_out;
};

ResnetStyle StyleOf(const UNet2DConditionConfig& config) {
  return {.embedding_dim = config.time_embedding_dim,
          .norm_groups = config.norm_num_groups,
          .norm_eps = config.norm_eps,
          .activation = config.act_fn,
          .time_shift = config.resnet_time_scale_shift};
}

Transformer2D::Shape TransformerShape(const UNet2DConditionConfig& config,
                                      const UNet2DConditionLevel& level, int64_t blocks) {
  return {.block = {.channels = level.channels,
                    .heads = level.heads,
                    .text_width = config.cross_attention_dim,
                    .only_text = level.only_text},
          .blocks = blocks,
          .norm_groups = config.norm_num_groups,
          .linear_projection = config.use_linear_projection};
}

// One entry per resnet of a block. `transformers` may be empty.
std::vector<BlockAttention::Shape> AttentionShapes(const UNet2DConditionConfig& config,
                                                   const UNet2DConditionLevel& level,
                                                   int64_t resnets,
                                                   const std::vector<int64_t>& transformers) {
  std::vector<BlockAttention::Shape> shapes(static_cast<size_t>(resnets));
  for (size_t i = 0; i < transformers.size(); ++i) {
    shapes[i] = TransformerShape(config, level, transformers[i]);
  }
  return shapes;
}

std::optional<Resampling> ConvIf(bool resamples) {
  return resamples ? std::optional(Resampling::kConv) : std::nullopt;
}

DownBlock LoadDownBlock(const WeightScope& root, const UNet2DConditionConfig& config, size_t i,
                        KernelOptions options) {
  const UNet2DConditionLevel& level = config.levels[i];
  return DownBlock::Load(
      root / "down_blocks" / i, StyleOf(config),
      {.in = config.levels[i == 0 ? 0 : i - 1].channels,
       .out = level.channels,
       .attentions = AttentionShapes(config, level, level.layers, level.down_transformers),
       .downsample = ConvIf(i + 1 < config.levels.size()),
       .downsample_padding = config.downsample_padding},
      options);
}

std::optional<MidBlock> LoadMidBlock(const WeightScope& root, const UNet2DConditionConfig& config,
                                     KernelOptions options) {
  if (config.mid_block == ConditionMidBlock::kNone) return std::nullopt;
  UNet2DConditionLevel level = config.levels.back();
  level.only_text = false;  // the library ignores it here
  MidBlock::Shape shape{.channels = level.channels,
                        .attention = {},
                        .resnet_out = config.mid_block == ConditionMidBlock::kCrossAttention,
                        .output_scale_factor = config.mid_block_scale_factor};
  if (config.mid_block == ConditionMidBlock::kCrossAttention) {
    shape.attention = TransformerShape(config, level, config.mid_transformers);
  }
  return MidBlock::Load(root / "mid_block", StyleOf(config), shape, options);
}

// Up block `i`, counted from the deepest level.
UpBlock LoadUpBlock(const WeightScope& root, const UNet2DConditionConfig& config, size_t i,
                    KernelOptions options) {
  const size_t l = config.levels.size() - 1 - i;
  const UNet2DConditionLevel& level = config.levels[l];
  return UpBlock::Load(
      root / "up_blocks" / i, StyleOf(config),
      {.in = config.levels[i == 0 ? l : l + 1].channels,
       .out = level.channels,
       .last_skip = config.levels[l == 0 ? 0 : l - 1].channels,
       .attentions = AttentionShapes(config, level, level.layers + 1, level.up_transformers),
       .upsample = ConvIf(l > 0)},
      options);
}

Conv2d::Shape SameSizeConvolution(int64_t in, int64_t out, int64_t kernel) {
  return {.in = in, .out = out, .kernel = kernel, .stride = 1, .padding = kernel / 2};
}

Layers LoadLayers(const WeightScope& root, const UNet2DConditionConfig& config, at::Device device,
                  at::ScalarType dtype, KernelOptions options) {
  const int64_t channels = config.levels[0].channels;
  Layers layers;
  layers.embedding = ConditionEmbedding::Load(root, config, device, dtype, options);
  layers.conv_in = Conv2d::Load(
      root / "conv_in", SameSizeConvolution(config.in_channels, channels, config.conv_in_kernel),
      options);
  for (size_t i = 0; i < config.levels.size(); ++i) {
    layers.down_blocks.push_back(LoadDownBlock(root, config, i, options));
  }
  layers.mid_block = LoadMidBlock(root, config, options);
  for (size_t i = 0; i < config.levels.size(); ++i) {
    layers.up_blocks.push_back(LoadUpBlock(root, config, i, options));
  }
  layers.norm_out = GroupNorm::Load(root / "conv_norm_out", channels, config.norm_num_groups,
                                    config.norm_eps, options);
  layers.conv_out = Conv2d::Load(
      root / "conv_out", SameSizeConvolution(channels, config.out_channels, config.conv_out_kernel),
      options);
  return layers;
}

KernelOptions KernelsOf(const UNet2DConditionOptions& options) {
  return {.batch_invariant = options.batch_invariant,
          .fuse_normalization = true,
          .pack_weights = options.batch_invariant};
}

// Takes every tensor of a network from `source` without keeping the layers.
void TakeWeights(WeightSource& source, const UNet2DConditionConfig& config) {
  LoadLayers({source, ""}, config, at::kCPU, at::kFloat, {.batch_invariant = false});
}

class UNet2DCondition final : public Network, public std::enable_shared_from_this<UNet2DCondition> {
 public:
  // Do not use the network if `reader` has errors. `spec` lacks the number of parameters.
  UNet2DCondition(const UNet2DConditionConfig& config, WeightReader& reader, at::Device device,
                  at::ScalarType dtype, const UNet2DConditionOptions& options, NetworkSpec spec)
      : config_(config),
        options_(options),
        device_(device),
        dtype_(dtype),
        layers_(LoadLayers({reader, ""}, config, device, dtype, KernelsOf(options))),
        parameters_(reader.taken()),
        spec_(std::move(spec)) {
    spec_.num_parameters = 0;
    for (const auto& [name, tensor] : parameters_) spec_.num_parameters += tensor.numel();
  }

  const NetworkSpec& spec() const override { return spec_; }
  at::Device device() const override { return device_; }
  at::ScalarType dtype() const override { return dtype_; }

  at::Tensor Forward(const NetworkInput& input) const override;

  std::shared_ptr<const Network> To(at::Device device, at::ScalarType dtype) const override;

 private:
  void Check(const NetworkInput& input) const;
  at::Tensor ForwardBatch(const NetworkInput& input) const;

  // Constant after construction.
  UNet2DConditionConfig config_;
  UNet2DConditionOptions options_;
  at::Device device_;
  at::ScalarType dtype_;
  Layers layers_;
  StateDict parameters_;  // the tensors of layers_ themselves, under their names
  NetworkSpec spec_;
};

// Throws unless `tensor` is float32 of `sizes`; -1 stands for any number above 0.
void CheckTensor(const char* name, const at::Tensor& tensor, at::IntArrayRef sizes) {
  TORCH_CHECK(tensor.defined() && tensor.scalar_type() == at::kFloat, name, " must be float32");
  const bool fits = std::equal(
      sizes.begin(), sizes.end(), tensor.sizes().begin(), tensor.sizes().end(),
      [](int64_t wanted, int64_t size) { return wanted < 0 ? size > 0 : size == wanted; });
  TORCH_CHECK(fits, name, " has shape ", tensor.sizes(), ", expected ", sizes);
}

void CheckTextLengths(const std::vector<int64_t>& lengths, int64_t batch, int64_t tokens) {
  if (lengths.empty()) return;
  TORCH_CHECK(static_cast<int64_t>(lengths.size()) == batch, "text_lengths must be ", batch);
  for (const int64_t length : lengths) {
    TORCH_CHECK(length > 0 && length <= tokens, "text_lengths must be 1 to ", tokens);
  }
}

void UNet2DCondition::Check(const NetworkInput& input) const {
  const Conditions& conditions = input.conditions;
  CheckTensor("x", input.x, {-1, spec_.sample.channels, -1, -1});
  const int64_t batch = input.x.size(0);
  CheckTensor("timesteps", input.timesteps, {batch});
  CheckTensor("text_states", conditions.text_states, {batch, -1, spec_.text_width});
  CheckTextLengths(conditions.text_lengths, batch, conditions.text_states.size(1));
  if (spec_.pooled_text_width > 0) {
    CheckTensor("pooled_text", conditions.pooled_text, {batch, spec_.pooled_text_width});
    CheckTensor("time_ids", conditions.time_ids, {batch, spec_.num_time_ids});
  }
  if (spec_.guidance_embedding) {
    CheckTensor("guidance_scales", conditions.guidance_scales, {batch});
  }
  if (spec_.condition_channels > 0) {
    CheckTensor("channels", conditions.channels,
                {batch, spec_.condition_channels, input.x.size(2), input.x.size(3)});
  }
  TORCH_CHECK(
      conditions.adapters.empty() || static_cast<int64_t>(conditions.adapters.size()) == batch,
      "adapters must be ", batch, " lists");
  TORCH_CHECK(
      spec_.num_class_embeds == 0 || (conditions.class_labels.defined() &&
                                      conditions.class_labels.sizes() == at::IntArrayRef{batch} &&
                                      conditions.class_labels.scalar_type() == at::kLong),
      "class_labels must be [", batch, "] int64");
}

// Row `row` as tensors of its own: a matrix product adds in an order that depends on the alignment
// of its operands.
NetworkInput RowOf(const NetworkInput& input, int64_t row) {
  NetworkInput one{.x = input.x.narrow(0, row, 1).clone(),
                   .timesteps = input.timesteps.narrow(0, row, 1).clone(),
                   .conditions = input.conditions.Narrow(row, 1)};
  for (at::Tensor* tensor : {&one.conditions.text_states, &one.conditions.pooled_text}) {
    if (tensor->defined()) *tensor = tensor->clone();
  }
  return one;
}

at::Tensor UNet2DCondition::Forward(const NetworkInput& input) const {
  Check(input);
  const bool layers_are_batch_invariant =
      OneDnnServes(device_, dtype_) && onednn::IsBatchInvariant();
  if (!options_.batch_invariant || !device_.is_cpu() || layers_are_batch_invariant) {
    return ForwardBatch(input);
  }
  std::vector<at::Tensor> outputs;
  for (int64_t row = 0; row < input.x.size(0); ++row) {
    outputs.push_back(ForwardBatch(RowOf(input, row)));
  }
  return at::cat(outputs);
}

at::Tensor UNet2DCondition::ForwardBatch(const NetworkInput& input) const {
  const Conditions& conditions = input.conditions;
  const RowAdapters adapters(conditions.adapters, device_, dtype_,
                             options_.batch_invariant && device_.is_cpu());
  const at::Tensor embedding = layers_.embedding(input.timesteps, conditions, adapters);
  const BlockContext context{
      .activated_embedding = Activate(config_.act_fn, embedding, KernelsOf(options_)),
      .text = SplitTexts(conditions.text_states.to(dtype_), conditions.text_lengths),
      .adapters = adapters};

  at::Tensor x =
      spec_.condition_channels > 0 ? at::cat({input.x, conditions.channels}, 1) : input.x;
  if (config_.center_input_sample) x = x * 2 - 1;
  x = layers_.conv_in(x.to(dtype_).contiguous(PreferredMemoryFormat(device_)), adapters);
  Skips skips{x};
  for (const DownBlock& block : layers_.down_blocks) x = block(x, context, skips);
  if (layers_.mid_block) x = (*layers_.mid_block)(x, context);
  for (const UpBlock& block : layers_.up_blocks) x = block(x, context, skips);
  return layers_.conv_out(layers_.norm_out(x, config_.act_fn), adapters)
      .to(at::kFloat)
      .contiguous();
}

std::shared_ptr<const Network> UNet2DCondition::To(at::Device device, at::ScalarType dtype) const {
  if (device == device_ && dtype == dtype_) return shared_from_this();
  WeightReader reader(parameters_, device, dtype);
  return std::make_shared<UNet2DCondition>(config_, reader, device, dtype, options_, spec_);
}

// The channels of x, if `options` suit `config`.
absl::StatusOr<int64_t> SampleChannels(const UNet2DConditionConfig& config,
                                       const UNet2DConditionOptions& options) {
  const int64_t in = config.in_channels, out = config.out_channels;
  const int64_t channels = options.sample_channels.value_or(out <= in ? out : out / 2);
  if (channels < 1 || channels > in) {
    return InvalidField("in_channels", absl::StrCat("must be at least ", channels,
                                                    ", the channels of a sample; is ", in));
  }
  if (out != channels && out != 2 * channels) {
    return InvalidField("out_channels", absl::StrCat("must be ", channels, ", or ", 2 * channels,
                                                     " with a learned variance, as samples have ",
                                                     channels, " channels; is ", out));
  }
  return channels;
}

absl::StatusOr<NetworkSpec> MakeSpec(const UNet2DConditionConfig& config,
                                     const UNet2DConditionOptions& options) {
  ASSIGN_OR_RETURN(const int64_t channels, SampleChannels(config, options));
  NetworkSpec spec = {.sample = {channels, config.height, config.width},
                      .size_multiple = 1,
                      .out_channels = config.out_channels,
                      .num_class_embeds = config.num_class_embeds,
                      .text_width = config.cross_attention_dim,
                      .guidance_embedding = config.time_cond_proj_dim.has_value(),
                      .condition_channels = config.in_channels - channels};
  if (config.text_time) {
    const int64_t numbers = options.num_time_ids * config.text_time->number_dim;
    spec.num_time_ids = options.num_time_ids;
    spec.pooled_text_width = config.text_time->input_dim - numbers;
    if (options.num_time_ids < 1 || spec.pooled_text_width < 1) {
      return InvalidField("projection_class_embeddings_input_dim",
                          absl::StrCat("must be above ", numbers, ", as ", options.num_time_ids,
                                       " numbers have addition_time_embed_dim each; is ",
                                       config.text_time->input_dim));
    }
  }
  return spec;
}

}  // namespace
}  // namespace nn

absl::StatusOr<NetworkSpec> NetworkSpecOf(const UNet2DConditionConfig& config,
                                          const UNet2DConditionOptions& options) {
  return nn::MakeSpec(config, options);
}

absl::StatusOr<std::shared_ptr<const Network>> CreateUNet2DCondition(
    const UNet2DConditionConfig& config, const NamedTensors& weights,
    const UNet2DConditionOptions& options, const Placement& placement) {
  ASSIGN_OR_RETURN(NetworkSpec spec, nn::MakeSpec(config, options));
  const auto [device, dtype] = placement;
  nn::WeightReader reader(weights, device, dtype);
  std::shared_ptr<const Network> network = std::make_shared<nn::UNet2DCondition>(
      config, reader, device, dtype, options, std::move(spec));
  RETURN_IF_ERROR(reader.Finish());
  return network;
}

StateDict InitializeUNet2DCondition(const UNet2DConditionConfig& config, uint64_t seed) {
  return UNet2DConditionInitializer(config).Make(seed);
}

nn::WeightInitializer UNet2DConditionInitializer(const UNet2DConditionConfig& config) {
  nn::WeightInitializer initializer;
  nn::TakeWeights(initializer, config);
  return initializer;
}

LayerShapes UNet2DConditionLayers(const UNet2DConditionConfig& config) {
  constexpr std::string_view kWeight = ".weight";
  LayerShapes layers;
  for (auto& [name, shape] : UNet2DConditionInitializer(config).Shapes()) {
    // Weights of norms are vectors, and nothing is multiplied by the table of classes.
    if (!name.ends_with(kWeight) || shape.size() < 2 || name == "class_embedding.weight") continue;
    layers[name.substr(0, name.size() - kWeight.size())] = shape;
  }
  return layers;
}

int64_t CountUNet2DConditionParameters(const UNet2DConditionConfig& config) {
  return UNet2DConditionInitializer(config).count();
}

}  // namespace denoise
