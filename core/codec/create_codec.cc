#include "core/codec/create_codec.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <type_traits>
#include <utility>

#include "core/base/status_macros.h"
#include "core/codec/codec_checks.h"
#include "core/codec/models.h"
#include "core/nn/weight_reader.h"

namespace denoise {
namespace codec {
namespace {

// The model that a configuration describes.
AutoencoderKL LoadModel(const nn::WeightScope& root, const AutoencoderKLConfig& config,
                        nn::KernelOptions options) {
  return AutoencoderKL::Load(root, config, options);
}
AutoencoderTiny LoadModel(const nn::WeightScope& root, const AutoencoderTinyConfig& config,
                          nn::KernelOptions options) {
  return AutoencoderTiny::Load(root, config, options);
}
VQModel LoadModel(const nn::WeightScope& root, const VQModelConfig& config,
                  nn::KernelOptions options) {
  return VQModel::Load(root, config, options);
}

bool OverflowsInHalf(const AutoencoderKLConfig& config) { return config.force_upcast; }
bool OverflowsInHalf(const AutoencoderTinyConfig&) { return false; }
bool OverflowsInHalf(const VQModelConfig& config) { return config.force_upcast; }

template <typename Config>
at::ScalarType DtypeOf(const Config& config, at::ScalarType dtype) {
  return dtype == at::kHalf && OverflowsInHalf(config) ? at::kFloat : dtype;
}

CodecSpec SpecOf(const AutoencoderKLConfig& config) {
  return {.picture_channels = config.blocks.picture_channels,
          .latent_channels = config.blocks.latent_channels,
          .factor = config.blocks.Factor(),
          .samples_latents = true};
}
CodecSpec SpecOf(const AutoencoderTinyConfig& config) {
  return {.picture_channels = config.picture_channels,
          .latent_channels = config.latent_channels,
          .factor = config.Factor()};
}
CodecSpec SpecOf(const VQModelConfig& config) {
  return {.picture_channels = config.blocks.picture_channels,
          .latent_channels = config.code_width,
          .factor = config.blocks.Factor()};
}

// Between latents and x. The order of operations is the library's.
class Scaler {
 public:
  Scaler(const LatentScaling& scaling, const CodecOptions& options, at::Device device)
      : factor_(scaling.scaling_factor) {
    if (options.use_shift_factor) shift_ = scaling.shift_factor.value_or(0);
    if (!options.use_statistics || scaling.mean.empty()) return;
    mean_ = PerChannel(scaling.mean, device);
    std_ = PerChannel(scaling.std, device);
  }

  at::Tensor Scale(const at::Tensor& latents, bool use_statistics) const {
    if (mean_.defined() && use_statistics) return (latents - mean_) * factor_ / std_;
    return (shift_ == 0 ? latents : latents - shift_) * factor_;
  }

  at::Tensor Unscale(const at::Tensor& x) const {
    if (mean_.defined()) return x * std_ / factor_ + mean_;
    const at::Tensor latents = x / factor_;
    return shift_ == 0 ? latents : latents + shift_;
  }

 private:
  static at::Tensor PerChannel(const std::vector<double>& values, at::Device device) {
    return at::tensor(values, at::kFloat).view({1, -1, 1, 1}).to(device);
  }

  double factor_;
  double shift_ = 0;
  at::Tensor mean_, std_;  // [1, C, 1, 1] or undefined
};

template <typename Config>
class Autoencoder final : public Codec, public std::enable_shared_from_this<Autoencoder<Config>> {
 public:
  // Do not use the codec if `reader` has errors.
  Autoencoder(const Config& config, nn::WeightReader& reader, at::Device device,
              at::ScalarType dtype, const CodecOptions& options)
      : config_(config),
        options_(options),
        device_(device),
        dtype_(dtype),
        model_(LoadModel({reader, ""}, config, {.batch_invariant = options.batch_invariant})),
        parameters_(reader.taken()),
        scaler_(config.scaling, options, device),
        spec_(SpecOf(config)) {
    for (const auto& [name, tensor] : parameters_) spec_.num_parameters += tensor.numel();
  }

  const CodecSpec& spec() const override { return spec_; }
  at::Device device() const override { return device_; }
  at::ScalarType dtype() const override { return dtype_; }

  at::Tensor Encode(const at::Tensor& pictures, const at::Tensor& noise) const override {
    return EncodeRows(pictures, noise, /*use_statistics=*/true);
  }

  at::Tensor EncodeWithoutStatistics(const at::Tensor& pictures,
                                     const at::Tensor& noise) const override {
    return EncodeRows(pictures, noise, /*use_statistics=*/false);
  }

  at::Tensor Decode(const at::Tensor& latents) const override {
    CheckLatents(spec_, latents);
    return ByRow(latents, [this](const at::Tensor& rows) {
      return model_.Decode(Prepared(scaler_.Unscale(rows))).to(at::kFloat).contiguous();
    });
  }

  std::shared_ptr<const Codec> To(at::Device device, at::ScalarType dtype) const override {
    dtype = DtypeOf(config_, dtype);
    if (device == device_ && dtype == dtype_) return this->shared_from_this();
    nn::WeightReader reader(parameters_, device, dtype);
    return std::make_shared<Autoencoder>(config_, reader, device, dtype, options_);
  }

 private:
  at::Tensor EncodeRows(const at::Tensor& pictures, const at::Tensor& noise,
                        bool use_statistics) const {
    CheckPictures(spec_, pictures, noise);
    int64_t first = 0;
    return ByRow(pictures, [&, this](const at::Tensor& rows) {
      Distribution latents = model_.Encode(Prepared(rows));
      at::Tensor sample = latents.mean.to(at::kFloat);
      if (noise.defined() && latents.deviation.defined()) {
        sample = sample + latents.deviation * noise.narrow(0, first, rows.size(0));
      }
      first += rows.size(0);
      return scaler_.Scale(sample, use_statistics).contiguous();
    });
  }

  // Applies `f` to each row on the CPU, to all of them elsewhere.
  template <typename Function>
  at::Tensor ByRow(const at::Tensor& x, const Function& f) const {
    return options_.batch_invariant && device_.is_cpu() ? nn::RowWise(x, f) : f(x);
  }

  // In the dtype and order of the layers.
  at::Tensor Prepared(const at::Tensor& x) const {
    return x.to(dtype_).contiguous(nn::PreferredMemoryFormat(device_));
  }

  // Constant after construction.
  Config config_;
  CodecOptions options_;
  at::Device device_;
  at::ScalarType dtype_;
  decltype(LoadModel(std::declval<nn::WeightScope>(), std::declval<Config>(), {})) model_;
  StateDict parameters_;  // the tensors of model_, under their current names
  Scaler scaler_;
  CodecSpec spec_;
};

}  // namespace
}  // namespace codec

absl::StatusOr<std::shared_ptr<const Codec>> CreateCodec(const AutoencoderConfig& config,
                                                         const NamedTensors& weights,
                                                         const CodecOptions& options,
                                                         const Placement& placement) {
  const at::Device device = placement.device;
  const at::ScalarType dtype = CodecDtype(config, placement.dtype);
  nn::WeightReader reader(weights, device, dtype);
  std::shared_ptr<const Codec> codec = std::visit(
      [&](const auto& parsed) -> std::shared_ptr<const Codec> {
        using Config = std::decay_t<decltype(parsed)>;
        return std::make_shared<codec::Autoencoder<Config>>(parsed, reader, device, dtype, options);
      },
      config);
  RETURN_IF_ERROR(reader.Finish());
  return codec;
}

at::ScalarType CodecDtype(const AutoencoderConfig& config, at::ScalarType dtype) {
  return std::visit([&](const auto& parsed) { return codec::DtypeOf(parsed, dtype); }, config);
}

CodecSpec CodecSpecOf(const AutoencoderConfig& config) {
  CodecSpec spec = std::visit([](const auto& parsed) { return codec::SpecOf(parsed); }, config);
  spec.num_parameters = CountCodecParameters(config);
  return spec;
}

StateDict InitializeCodec(const AutoencoderConfig& config, uint64_t seed) {
  return CodecInitializer(config).Make(seed);
}

nn::WeightInitializer CodecInitializer(const AutoencoderConfig& config) {
  nn::WeightInitializer initializer;
  std::visit([&](const auto& parsed) { codec::LoadModel({initializer, ""}, parsed, {}); }, config);
  return initializer;
}

int64_t CountCodecParameters(const AutoencoderConfig& config) {
  return CodecInitializer(config).count();
}

}  // namespace denoise
