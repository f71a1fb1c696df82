#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/nn/cpu_normalize.h"

namespace denoise::nn::cpu {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Autograd functions do not accept undefined tensors, so empty ones stand for them.
at::Tensor OrEmpty(const at::Tensor& tensor) {
  return tensor.defined() ? tensor : at::empty({0}, at::kFloat);
}

at::Tensor InFloat(const at::Tensor& tensor) {
  return tensor.numel() > 0 ? tensor.detach().to(at::kFloat).contiguous() : at::Tensor();
}

at::Tensor InDtypeOf(const at::Tensor& tensor, const at::Tensor& gradient) {
  return gradient.defined() ? gradient.to(tensor.scalar_type()) : gradient;
}

class NormalizeFunction : public torch::autograd::Function<NormalizeFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, const at::Tensor& shift_before,
                            const at::Tensor& scale, const at::Tensor& shift, int64_t groups,
                            double eps, bool silu) {
    Normalized result = Normalize({.x = x,
                                   .weight = InFloat(weight),
                                   .bias = InFloat(bias),
                                   .groups = groups,
                                   .eps = eps,
                                   .shift_before = InFloat(shift_before),
                                   .scale = InFloat(scale),
                                   .shift = InFloat(shift),
                                   .silu = silu});
    context->save_for_backward({x, weight, bias, shift_before, scale, shift, result.moments});
    context->saved_data["groups"] = groups;
    context->saved_data["eps"] = eps;
    context->saved_data["silu"] = silu;
    return result.y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grad_outputs) {
    TORCH_CHECK(!at::GradMode::is_enabled(),
                "normalisation on the CPU is differentiated once only");
    const variable_list saved = context->get_saved_variables();
    const NormalizeGradients gradients =
        NormalizeBackward({.x = saved[0],
                           .weight = InFloat(saved[1]),
                           .bias = InFloat(saved[2]),
                           .groups = context->saved_data["groups"].toInt(),
                           .eps = context->saved_data["eps"].toDouble(),
                           .shift_before = InFloat(saved[3]),
                           .scale = InFloat(saved[4]),
                           .shift = InFloat(saved[5]),
                           .silu = context->saved_data["silu"].toBool()},
                          saved[6], grad_outputs[0]);
    return {gradients.x,
            InDtypeOf(saved[1], gradients.weight),
            InDtypeOf(saved[2], gradients.bias),
            InDtypeOf(saved[3], gradients.shift_before),
            InDtypeOf(saved[4], gradients.scale),
            InDtypeOf(saved[5], gradients.shift),
            at::Tensor(),
            at::Tensor(),
            at::Tensor()};
  }
};

}  // namespace

at::Tensor DifferentiableNormalize(const NormalizeArgs& args) {
  return NormalizeFunction::apply(args.x, args.weight, args.bias, OrEmpty(args.shift_before),
                                  OrEmpty(args.scale), OrEmpty(args.shift), args.groups, args.eps,
                                  args.silu);
}

}  // namespace denoise::nn::cpu
