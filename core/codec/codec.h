// Maps between pictures and what a network denoises.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "core/nn/network.h"

namespace denoise {

// Constant during the codec's life.
struct CodecSpec {
  int64_t picture_channels = 3;
  int64_t latent_channels = 0;
  int64_t factor = 1;            // pixels of a picture for one of x, along each side
  bool is_identity = false;      // x is the picture; Encode and Decode do no work
  bool samples_latents = false;  // Encode draws from a distribution and takes noise
  int64_t num_parameters = 0;

  // The shape of x for a picture of height x width, which must be multiples of `factor`.
  SampleShape LatentShape(int64_t height, int64_t width) const {
    return {latent_channels, height / factor, width / factor};
  }
};

// Immutable and thread-safe. A codec has one device and one dtype; To() makes a copy with others.
// Tensors it takes and returns are float32 on its device, in contiguous NCHW order.
//
// A row's result depends only on that row; on the CPU it is the same bit for bit in any batch.
// Methods throw c10::Error if a shape is wrong or the device fails, and do not turn off gradients:
// call them under c10::InferenceMode.
class Codec {
 public:
  virtual ~Codec() = default;

  virtual const CodecSpec& spec() const = 0;
  virtual at::Device device() const = 0;
  virtual at::ScalarType dtype() const = 0;

  // Pictures [B, C, H, W] in [-1, 1], H and W multiples of spec().factor, to latents as the network
  // denoises them (scaled), [B, latent_channels, H / factor, W / factor]. `noise` has the latents'
  // shape and is standard normal; the result is mean + deviation * noise. Undefined: the mean.
  // Ignored if !spec().samples_latents.
  virtual at::Tensor Encode(const at::Tensor& pictures, const at::Tensor& noise) const = 0;

  // The same, but only multiplied by the scaling factor where Encode also normalises by
  // latents_mean and latents_std. Inpainting with XL encodes this way, and decodes with Decode.
  virtual at::Tensor EncodeWithoutStatistics(const at::Tensor& pictures,
                                             const at::Tensor& noise) const {
    return Encode(pictures, noise);
  }

  // Latents [B, latent_channels, h, w] as the network denoises them to pictures [B, C, h * factor,
  // w * factor], not clamped. Any h and w from 1.
  virtual at::Tensor Decode(const at::Tensor& latents) const = 0;

  // The same codec on `device` in `dtype`; itself if nothing changes. A codec that overflows in
  // float16 stays in float32, so dtype() may differ from what was asked for. Throws c10::Error if
  // there is no such device or it is out of memory.
  virtual std::shared_ptr<const Codec> To(at::Device device, at::ScalarType dtype) const = 0;
};

}  // namespace denoise
