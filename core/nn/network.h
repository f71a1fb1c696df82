// A network as samplers see it: F(x, timestep, class) -> raw prediction.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace denoise {

// The shapes of a network's inputs and outputs. Constant during the network's life.
struct NetworkSpec {
  int64_t in_channels = 0;
  int64_t out_channels = 0;  // 2 * in_channels if the variance is learned
  int64_t height = 0;        // pixels
  int64_t width = 0;
  int64_t num_class_embeds = 0;  // labels are 0 .. num_class_embeds - 1; 0: not class-conditional
  int64_t num_parameters = 0;
};

// One batch of rows.
struct NetworkInput {
  at::Tensor x;             // [B, in_channels, H, W] float32, on the network's device
  at::Tensor timesteps;     // [B] float32, may be fractional
  at::Tensor class_labels;  // [B] int64; undefined when the network is not class-conditional
};

// Immutable and thread-safe. A network has one device and one dtype; To() makes a copy with others.
class Network {
 public:
  virtual ~Network() = default;

  virtual const NetworkSpec& spec() const = 0;
  virtual at::Device device() const = 0;
  virtual at::ScalarType dtype() const = 0;

  // Returns [B, out_channels, H, W] float32, on the network's device. Each row depends only on its
  // own input; on the CPU it is the same bit for bit in any batch. Requires class labels in range.
  // Throws c10::Error if a shape is wrong or the device fails. Does not turn off gradients: run
  // inference under c10::InferenceMode.
  virtual at::Tensor Forward(const NetworkInput& input) const = 0;

  // The same network on `device` in `dtype`; itself if nothing changes. Throws c10::Error if there
  // is no such device or it is out of memory.
  virtual std::shared_ptr<const Network> To(at::Device device, at::ScalarType dtype) const = 0;
};

}  // namespace denoise
