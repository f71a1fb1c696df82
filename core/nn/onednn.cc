#include "core/nn/onednn.h"

#include <ATen/Version.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/nn/mapped_tensor.h"

namespace denoise::nn::onednn {
namespace {

// Packed weights fit any number of pixels or tokens. These numbers choose an order that is also the
// fastest one for most others.
constexpr int64_t kTypicalSide = 16;
constexpr int64_t kTypicalTokens = 1024;

// LibTorch has no C++ header for these operators; it offers them by name.
c10::OperatorHandle Find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
}

template <typename... Arguments>
at::Tensor Call(const c10::OperatorHandle& op, Arguments&&... arguments) {
  torch::jit::Stack stack;
  torch::jit::push(stack, std::forward<Arguments>(arguments)...);
  op.callBoxed(stack);
  return torch::jit::pop(stack).toTensor();
}

std::optional<at::Tensor> Optional(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

std::vector<int64_t> Pair(int64_t number) { return {number, number}; }

// Whether this machine has the instruction set that LibTorch calls `capability`, and oneDNN may use
// instructions whose name contains `name`.
bool Uses(std::string_view capability, std::string_view name) {
  if (at::get_cpu_capability() != capability) return false;
  for (const char* variable : {"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"}) {
    const char* limit = std::getenv(variable);
    if (limit != nullptr && std::string_view(limit).find(name) == std::string_view::npos) {
      return false;
    }
  }
  return true;
}

// Whether a token's result does not depend on how many others there are. With older instruction
// sets, oneDNN calls a general matrix product, whose order of summation depends on its size. Only
// 1x1 convolutions are batch-invariant there.
bool LinearIsBatchInvariant() { return Uses("AVX512", "AVX512"); }

// [B, tokens, channels] as an image [B, channels, tokens, 1] in channels-last order.
at::Tensor AsImage(const at::Tensor& x) {
  const int64_t tokens = x.size(1), channels = x.size(2);
  return x.as_strided({x.size(0), channels, tokens, 1}, {tokens * channels, 1, channels, channels});
}

// A copy in the order in which LibTorch reads convolutions. It would make one itself, in the heap.
at::Tensor InChannelsLast(const at::Tensor& weight) {
  const at::Tensor rows = EmptyMapped(
      {weight.size(0), weight.size(2), weight.size(3), weight.size(1)}, weight.scalar_type());
  return rows.permute({0, 3, 1, 2}).copy_(weight);
}

c10::List<std::optional<at::Scalar>> NoScalars() { return c10::List<std::optional<at::Scalar>>(); }

}  // namespace

bool IsBatchInvariant() {
  static const bool invariant = LinearIsBatchInvariant() || Uses("AVX2", "AVX");
  return invariant;
}

at::Tensor PackConvolution(const at::Tensor& weight, int64_t stride, int64_t padding) {
  static const c10::OperatorHandle op = Find("mkldnn::_reorder_convolution_weight");
  const std::vector<int64_t> size = {1, weight.size(1), kTypicalSide, kTypicalSide};
  return Call(op, InChannelsLast(weight), Pair(padding), Pair(stride), Pair(1), int64_t{1},
              std::optional(size));
}

at::Tensor PackLinear(const at::Tensor& weight) {
  static const bool linear = LinearIsBatchInvariant();
  if (!linear) {
    return PackConvolution(weight.view({weight.size(0), weight.size(1), 1, 1}), /*stride=*/1,
                           /*padding=*/0);
  }
  static const c10::OperatorHandle op = Find("mkldnn::_reorder_linear_weight");
  return Call(op, weight.contiguous(), std::optional<int64_t>(kTypicalTokens));
}

at::Tensor Convolution(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias,
                       int64_t stride, int64_t padding) {
  static const c10::OperatorHandle op = Find("mkldnn::_convolution_pointwise");
  return Call(op, x, packed, Optional(bias), Pair(padding), Pair(stride), Pair(1), int64_t{1},
              "none", NoScalars(), std::optional<std::string>());
}

at::Tensor Linear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias) {
  if (packed.dim() == 4) {
    return Convolution(AsImage(x), packed, bias, /*stride=*/1, /*padding=*/0)
        .squeeze(3)
        .transpose(1, 2);
  }
  static const c10::OperatorHandle op = Find("mkldnn::_linear_pointwise");
  return Call(op, x, packed, Optional(bias), "none", NoScalars(), std::optional<std::string>());
}

}  // namespace denoise::nn::onednn
