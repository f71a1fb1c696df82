// Makes codecs of published autoencoders.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "core/codec/autoencoder_config.h"
#include "core/codec/codec.h"
#include "core/nn/placement.h"
#include "core/nn/state_dict.h"
#include "core/nn/stored_tensor.h"
#include "core/nn/weight_initializer.h"

namespace denoise {

struct CodecOptions {
  // On the CPU, use kernels whose result for a row does not depend on the rest of the batch, and
  // run row by row, which also bounds memory.
  bool batch_invariant = true;
  // Families differ in what they make of a configuration. Those of Stable Diffusion 1 and 2 only
  // use the scaling factor, XL also the statistics where there are any, 3 and FLUX the shift
  // factor.
  bool use_statistics = true;     // latents_mean and latents_std
  bool use_shift_factor = false;  // shift_factor
};

// Builds the codec at `placement` as CreateUNet2D builds a network. Attention layers may have new
// (to_q ...) or old (query ...) names and be linear layers or 1x1 convolutions.
//
// With statistics, Decode undoes x = (latents - mean) * scaling_factor / std; with the shift
// factor, x = (latents - shift_factor) * scaling_factor; otherwise x = latents * scaling_factor.
// Statistics count over the shift factor.
//
// If the configuration says `force_upcast`, a codec in float16 is one in float32 instead. bfloat16
// has float32's range and is not changed. As in the library, AutoencoderTiny never says so.
//
// On the CPU, decoding a picture needs memory for about four times its widest layer: 1024 x 1024
// pixels of a decoder with 256 channels at that resolution take 4 GiB. See tiled_pass.h for less.
absl::StatusOr<std::shared_ptr<const Codec>> CreateCodec(const AutoencoderConfig& config,
                                                         const NamedTensors& weights,
                                                         const CodecOptions& options,
                                                         const Placement& placement = {});

// What a codec of `config` computes in where `dtype` is asked for.
at::ScalarType CodecDtype(const AutoencoderConfig& config, at::ScalarType dtype);

// What a codec of `config` will be, with its number of weights, without making it.
CodecSpec CodecSpecOf(const AutoencoderConfig& config);

// Weights of a new autoencoder, initialised like PyTorch's layers; see InitializeUNet2D. Codes are
// uniform within 1 / num_codes.
StateDict InitializeCodec(const AutoencoderConfig& config, uint64_t seed);

// The same, to be made one at a time.
nn::WeightInitializer CodecInitializer(const AutoencoderConfig& config);

// The number of these weights, without making them.
int64_t CountCodecParameters(const AutoencoderConfig& config);

}  // namespace denoise
