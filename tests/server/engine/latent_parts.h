// The parts of a latent model besides its network, simple enough to tell what they have done.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "core/codec/codec.h"
#include "core/pipeline/pipeline.h"

namespace denoise {

// Pictures are latents twice as large and twice as bright.
class DoublingCodec final : public Codec, public std::enable_shared_from_this<DoublingCodec> {
 public:
  const CodecSpec& spec() const override { return spec_; }
  at::Device device() const override { return at::kCPU; }
  at::ScalarType dtype() const override { return at::kFloat; }
  at::Tensor Encode(const at::Tensor& pictures, const at::Tensor&) const override {
    ++encoded;
    if (on_call) on_call();
    if (fails) throw std::runtime_error("a broken encoder");
    return pictures.slice(2, 0, std::nullopt, 2).slice(3, 0, std::nullopt, 2).contiguous() / 2;
  }
  at::Tensor Decode(const at::Tensor& latents) const override {
    ++decoded;
    if (on_call) on_call();
    if (fails) throw std::runtime_error("a broken decoder");
    return latents.repeat_interleave(2, 2).repeat_interleave(2, 3) * 2;
  }
  std::shared_ptr<const Codec> To(at::Device, at::ScalarType) const override {
    return shared_from_this();
  }

  mutable std::atomic<int> encoded = 0, decoded = 0;
  std::atomic<bool> fails = false;
  std::function<void()> on_call = {};  // set before it is used; may throw

 private:
  const CodecSpec spec_ = {.picture_channels = 3, .latent_channels = 3, .factor = 2};
};

// Every prompt becomes class 0, told by a text of ones.
class CountingPrompts final : public PromptEncoder {
 public:
  std::vector<SharedCondition> Encode(
      const std::vector<SharedCondition>& conditions) const override {
    most = std::max(most.load(), conditions.size());
    if (on_call) on_call();
    if (fails) throw std::runtime_error("a broken text encoder");
    std::vector<SharedCondition> encoded;
    for (const SharedCondition& condition : conditions) {
      Condition told = *condition;
      told.class_label = 0;
      told.text_states = at::ones({1, 1});
      encoded.push_back(std::make_shared<const Condition>(std::move(told)));
    }
    return encoded;
  }
  std::shared_ptr<const PromptEncoder> To(at::Device, at::ScalarType) const override {
    return nullptr;
  }

  mutable std::atomic<size_t> most = 0;
  std::atomic<bool> fails = false;
  std::function<void()> on_call = {};  // set before it is used; may throw
};

}  // namespace denoise
