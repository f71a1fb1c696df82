// A network as samplers see it: F(x, timesteps, conditions) -> raw prediction.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <compare>
#include <cstdint>
#include <memory>

#include "core/nn/condition.h"

namespace denoise {

// The shape of x, one image on its way: pixels, or latents of a codec (core/codec/codec.h).
struct SampleShape {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;

  int64_t numel() const { return channels * height * width; }
  std::array<int64_t, 3> sizes() const { return {channels, height, width}; }

  auto operator<=>(const SampleShape&) const = default;
};

// What a network takes and returns. Constant during the network's life.
struct NetworkSpec {
  SampleShape sample;  // of x, unless a request chooses another height and width
  // Heights and widths are multiples of it. 0: only those of `sample`.
  int64_t size_multiple = 0;
  int64_t out_channels = 0;  // 2 * sample.channels if the variance is learned

  // What a row must be told; 0 or false: nothing. See the fields of Condition.
  int64_t num_class_embeds = 0;  // labels are 0 .. num_class_embeds - 1
  int64_t text_width = 0;
  int64_t pooled_text_width = 0;
  int64_t num_time_ids = 0;
  bool guidance_embedding = false;
  int64_t condition_channels = 0;

  int64_t num_parameters = 0;
};

// One batch of rows.
struct NetworkInput {
  at::Tensor x;          // [B, C, H, W] float32, on the network's device
  at::Tensor timesteps;  // [B] float32, may be fractional
  Conditions conditions;
};

// One row that a network of `spec` takes, on `device`, told everything it must be told: for finding
// out whether the network runs. Small, where the network takes any size.
NetworkInput ProbeInput(const NetworkSpec& spec, at::Device device);
// The same with `rows` equal rows of `shape`, each with a text of `tokens` where the network reads
// text: for measuring how long it takes.
NetworkInput ProbeInput(const NetworkSpec& spec, at::Device device, const SampleShape& shape,
                        int64_t rows, int64_t tokens);

// Immutable and thread-safe. A network has one device and one dtype; To() makes a copy with others.
class Network {
 public:
  virtual ~Network() = default;

  virtual const NetworkSpec& spec() const = 0;
  virtual at::Device device() const = 0;
  virtual at::ScalarType dtype() const = 0;

  // Returns [B, out_channels, H, W] float32, on the network's device. Each row depends only on its
  // own input; on the CPU it is the same bit for bit in any batch. Requires conditions that suit
  // spec(). Throws c10::Error if a shape is wrong or the device fails. Does not turn off gradients:
  // run inference under c10::InferenceMode.
  virtual at::Tensor Forward(const NetworkInput& input) const = 0;

  // The same network on `device` in `dtype`; itself if nothing changes. Throws c10::Error if there
  // is no such device or it is out of memory.
  virtual std::shared_ptr<const Network> To(at::Device device, at::ScalarType dtype) const = 0;
};

}  // namespace denoise
