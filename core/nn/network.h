// The network as the samplers see it: F(x, timestep, class) -> raw prediction.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace denoise {

// What a caller must know to feed a network. Constant for the network's life.
struct NetworkSpec {
  int64_t in_channels = 0;
  int64_t out_channels = 0;  // 2 * in_channels where the variance is learned
  int64_t height = 0;        // pixels
  int64_t width = 0;
  int64_t num_class_embeds = 0;  // labels are 0 .. num_class_embeds - 1; 0: not class-conditional
  int64_t num_parameters = 0;
};

// One batch of rows.
struct NetworkInput {
  at::Tensor x;             // [B, in_channels, H, W] float32, on the network's device
  at::Tensor timesteps;     // [B] float32, fractions kept
  at::Tensor class_labels;  // [B] int64; undefined when the network is not class-conditional
};

// Immutable once made; Forward may be called from several threads at once. A network lives on one
// device, in one dtype; To() makes a copy elsewhere.
class Network {
 public:
  virtual ~Network() = default;

  virtual const NetworkSpec& spec() const = 0;
  virtual at::Device device() const = 0;
  virtual at::ScalarType dtype() const = 0;

  // [B, out_channels, H, W] float32, on the network's device. Each row depends on its own input
  // only: on CPU bit for bit, whatever else is in the batch. Throws c10::Error on a shape mismatch
  // or when the device fails. That labels are in range is the caller's duty. Gradients are not
  // turned off here: inference runs under c10::InferenceMode.
  virtual at::Tensor Forward(const NetworkInput& input) const = 0;

  // The same network on `device` in `dtype`; itself where nothing changes. Throws c10::Error where
  // there is no such device, or not enough memory on it.
  virtual std::shared_ptr<const Network> To(at::Device device, at::ScalarType dtype) const = 0;
};

}  // namespace denoise
