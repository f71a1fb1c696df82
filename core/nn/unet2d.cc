#include "core/nn/unet2d.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <c10/util/Exception.h>

#include <utility>

#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/nn/embeddings.h"
#include "core/nn/unet_blocks.h"
#include "core/nn/weight_reader.h"

namespace denoise {
namespace nn {
namespace {

// The layers, in the order they run.
struct Layers {
  Conditioner conditioner;
  Conv2d conv_in;
  std::vector<DownBlock> down_blocks;
  std::optional<MidBlock> mid_block;
  std::vector<UpBlock> up_blocks;
  GroupNorm norm_out;
  Conv2d conv_out;
};

ResnetStyle StyleOf(const UNet2DConfig& config) {
  return {.embedding_dim = config.time_embedding_dim,
          .norm_groups = config.norm_num_groups,
          .norm_eps = config.norm_eps,
          .activation = config.act_fn,
          .time_shift = config.resnet_time_scale_shift};
}

// One entry for each of `layers` resnets.
std::vector<BlockAttention::Shape> LevelAttentions(const UNet2DConfig& config,
                                                   const UNet2DLevel& level, int64_t channels,
                                                   int64_t layers) {
  BlockAttention::Shape shape;
  if (level.attention) {
    shape = Attention::Shape{.channels = channels,
                             .heads = config.AttentionHeads(channels),
                             .norm_groups = config.norm_num_groups,
                             .norm_eps = config.norm_eps};
  }
  return std::vector<BlockAttention::Shape>(static_cast<size_t>(layers), shape);
}

std::optional<Resampling> ResamplingIf(bool resamples, const UNet2DLevel& level) {
  return resamples ? std::optional(level.resampling) : std::nullopt;
}

std::optional<MidBlock> LoadMidBlock(const WeightScope& scope, const UNet2DConfig& config,
                                     KernelOptions options) {
  if (!config.mid_block) return std::nullopt;
  MidBlock::Shape shape{.channels = config.block_out_channels.back(),
                        .attention = {},
                        .resnet_out = true,
                        .output_scale_factor = config.mid_block_scale_factor};
  if (!config.mid_attention) return MidBlock::Load(scope, StyleOf(config), shape, options);
  // With scale-shift resnets and without groups of its own, this attention has no norm.
  std::optional<int64_t> groups = config.attn_norm_num_groups;
  if (!groups && config.resnet_time_scale_shift == TimeShift::kDefault) {
    groups = config.norm_num_groups;
  }
  shape.attention = Attention::Shape{.channels = shape.channels,
                                     .heads = config.AttentionHeads(shape.channels),
                                     .norm_groups = groups,
                                     .norm_eps = config.norm_eps,
                                     .output_scale_factor = config.mid_block_scale_factor};
  return MidBlock::Load(scope, StyleOf(config), shape, options);
}

Layers LoadLayers(const WeightScope& root, const UNet2DConfig& config, at::Device device,
                  at::ScalarType dtype, KernelOptions options) {
  const std::vector<int64_t>& channels = config.block_out_channels;
  const size_t levels = channels.size();
  const ResnetStyle style = StyleOf(config);
  Layers layers;
  layers.conditioner = Conditioner::Load(root, config, device, dtype, options);
  layers.conv_in =
      Conv2d::Load(root / "conv_in", {.in = config.in_channels, .out = channels[0]}, options);
  for (size_t i = 0; i < levels; ++i) {
    const UNet2DLevel& level = config.down_blocks[i];
    layers.down_blocks.push_back(DownBlock::Load(
        root / "down_blocks" / i, style,
        {.in = channels[i == 0 ? 0 : i - 1],
         .out = channels[i],
         .attentions = LevelAttentions(config, level, channels[i], config.layers_per_block),
         .downsample = ResamplingIf(i + 1 < levels, level),
         .downsample_padding = config.downsample_padding},
        options));
  }
  layers.mid_block = LoadMidBlock(root / "mid_block", config, options);
  for (size_t i = 0; i < levels; ++i) {
    const size_t l = levels - 1 - i;  // counted like the down blocks
    const UNet2DLevel& level = config.up_blocks[i];
    layers.up_blocks.push_back(UpBlock::Load(
        root / "up_blocks" / i, style,
        {.in = channels[i == 0 ? l : l + 1],
         .out = channels[l],
         .last_skip = channels[l == 0 ? 0 : l - 1],
         .attentions = LevelAttentions(config, level, channels[l], config.layers_per_block + 1),
         .upsample = ResamplingIf(l > 0, level)},
        options));
  }
  layers.norm_out = GroupNorm::Load(root / "conv_norm_out", channels[0], config.norm_num_groups,
                                    config.norm_eps, options);
  layers.conv_out =
      Conv2d::Load(root / "conv_out", {.in = channels[0], .out = config.out_channels}, options);
  return layers;
}

KernelOptions KernelsOf(const UNet2DOptions& options) {
  return {.batch_invariant = options.batch_invariant,
          .fuse_normalization = options.fuse_normalization};
}

// Takes tensors from another source, which keeps them in the order that they have there.
class UnorderedSource final : public WeightSource {
 public:
  explicit UnorderedSource(WeightSource& source) : source_(source) {}

  at::Tensor Take(const std::vector<std::string>& names, at::IntArrayRef shape,
                  Initial initial) override {
    return source_.Take(names, shape, initial);
  }
  void Ignore(const std::string& name) override { source_.Ignore(name); }
  void Replace(const std::string&, const at::Tensor&) override {}

 private:
  WeightSource& source_;
};

// Takes every tensor of a network from `source` without keeping the layers.
void TakeWeights(WeightSource& source, const UNet2DConfig& config) {
  UnorderedSource unordered(source);
  LoadLayers({unordered, ""}, config, at::kCPU, at::kFloat, {.batch_invariant = false});
}

class UNet2D final : public Network, public std::enable_shared_from_this<UNet2D> {
 public:
  // Do not use the network if `reader` has errors.
  UNet2D(const UNet2DConfig& config, WeightReader& reader, at::Device device, at::ScalarType dtype,
         const UNet2DOptions& options)
      : config_(config),
        options_(options),
        device_(device),
        dtype_(dtype),
        layers_(LoadLayers({reader, ""}, config, device, dtype, KernelsOf(options))),
        parameters_(reader.taken()) {
    spec_ = {.sample = {config.in_channels, config.height, config.width},
             .out_channels = config.out_channels,
             .num_class_embeds = config.num_class_embeds};
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
  UNet2DConfig config_;
  UNet2DOptions options_;
  at::Device device_;
  at::ScalarType dtype_;
  Layers layers_;
  StateDict parameters_;  // the tensors of layers_, under their current names
  NetworkSpec spec_;
};

void UNet2D::Check(const NetworkInput& input) const {
  const at::IntArrayRef sizes = input.x.sizes();
  TORCH_CHECK(sizes.size() == 4 && sizes[0] > 0 && sizes.slice(1) == spec_.sample.sizes(),
              "x has shape ", sizes, ", expected rows of ", at::IntArrayRef(spec_.sample.sizes()));
  TORCH_CHECK(input.x.scalar_type() == at::kFloat, "x must be float32");
  TORCH_CHECK(input.timesteps.defined() && input.timesteps.sizes() == at::IntArrayRef{sizes[0]} &&
                  input.timesteps.scalar_type() == at::kFloat,
              "timesteps must be [", sizes[0], "] float32");
  TORCH_CHECK(input.conditions.class_labels.defined() == (spec_.num_class_embeds > 0),
              "class_labels must be given exactly when the network is class-conditional");
  TORCH_CHECK(!input.conditions.class_labels.defined() ||
                  (input.conditions.class_labels.sizes() == at::IntArrayRef{sizes[0]} &&
                   input.conditions.class_labels.scalar_type() == at::kLong),
              "class_labels must be [", sizes[0], "] int64");
}

at::Tensor UNet2D::Forward(const NetworkInput& input) const {
  Check(input);
  const bool layers_are_batch_invariant = OneDnnServes(device_, dtype_);
  if (!options_.batch_invariant || !device_.is_cpu() || layers_are_batch_invariant) {
    return ForwardBatch(input);
  }
  std::vector<at::Tensor> outputs;
  for (int64_t row = 0; row < input.x.size(0); ++row) {
    outputs.push_back(ForwardBatch({input.x.narrow(0, row, 1), input.timesteps.narrow(0, row, 1),
                                    input.conditions.Narrow(row, 1)}));
  }
  return at::cat(outputs);
}

at::Tensor UNet2D::ForwardBatch(const NetworkInput& input) const {
  const KernelOptions kernels = KernelsOf(options_);
  const at::Tensor embedding = layers_.conditioner(input.timesteps, input.conditions.class_labels);
  const BlockContext context{.activated_embedding = Activate(config_.act_fn, embedding, kernels),
                             .text = {}};

  at::Tensor x = config_.center_input_sample ? input.x * 2 - 1 : input.x;
  x = layers_.conv_in(x.to(dtype_).contiguous(PreferredMemoryFormat(device_)));
  Skips skips{x};
  for (const DownBlock& block : layers_.down_blocks) x = block(x, context, skips);
  if (layers_.mid_block) x = (*layers_.mid_block)(x, context);
  for (const UpBlock& block : layers_.up_blocks) x = block(x, context, skips);

  x = layers_.conv_out(layers_.norm_out(x, Activation::kSilu)).to(at::kFloat).contiguous();
  // Networks with Fourier features are trained on sigmas and predict the noise as a score (Song et
  // al. 2021).
  const bool divide = config_.time_embedding_type == TimeEmbeddingType::kFourier;
  return divide ? x / input.timesteps.view({-1, 1, 1, 1}) : x;
}

std::shared_ptr<const Network> UNet2D::To(at::Device device, at::ScalarType dtype) const {
  if (device == device_ && dtype == dtype_) return shared_from_this();
  WeightReader reader(parameters_, device, dtype);
  return std::make_shared<UNet2D>(config_, reader, device, dtype, options_);
}

}  // namespace
}  // namespace nn

absl::StatusOr<std::shared_ptr<const Network>> CreateUNet2D(const UNet2DConfig& config,
                                                            const NamedTensors& weights,
                                                            const UNet2DOptions& options,
                                                            const Placement& placement) {
  const auto [device, dtype] = placement;
  nn::WeightReader reader(weights, device, dtype);
  std::shared_ptr<const Network> network =
      std::make_shared<nn::UNet2D>(config, reader, device, dtype, options);
  RETURN_IF_ERROR(reader.Finish());
  return network;
}

std::shared_ptr<const Network> BindUNet2D(const UNet2DConfig& config, const StateDict& parameters,
                                          at::ScalarType dtype, const UNet2DOptions& options) {
  TORCH_CHECK(!parameters.empty(), "a network needs parameters");
  const at::Device device = parameters.begin()->second.device();
  nn::WeightReader reader(parameters, device, dtype, nn::WeightReader::Storage::kShared);
  const auto network = std::make_shared<nn::UNet2D>(config, reader, device, dtype, options);
  const absl::Status status = reader.Finish();
  TORCH_CHECK(status.ok(), "the parameters belong to another network: ", status.ToString());
  return network;
}

absl::Status CheckTrainable(const UNet2DConfig& config) {
  if (config.dropout == 0) return absl::OkStatus();
  return InvalidField("dropout", "networks with dropout cannot be trained here");
}

absl::StatusOr<StateDict> CanonicalUNet2DWeights(const UNet2DConfig& config,
                                                 const NamedTensors& weights) {
  nn::WeightReader reader(weights, at::kCPU, at::kFloat);
  nn::TakeWeights(reader, config);
  RETURN_IF_ERROR(reader.Finish());
  return reader.taken();
}

StateDict InitializeUNet2D(const UNet2DConfig& config, uint64_t seed) {
  return UNet2DInitializer(config).Make(seed);
}

nn::WeightInitializer UNet2DInitializer(const UNet2DConfig& config) {
  nn::WeightInitializer initializer;
  nn::TakeWeights(initializer, config);
  return initializer;
}

int64_t CountUNet2DParameters(const UNet2DConfig& config) {
  return UNet2DInitializer(config).count();
}

NetworkSpec NetworkSpecOf(const UNet2DConfig& config) {
  return {.sample = {config.in_channels, config.height, config.width},
          .out_channels = config.out_channels,
          .num_class_embeds = config.num_class_embeds,
          .num_parameters = CountUNet2DParameters(config)};
}

}  // namespace denoise
