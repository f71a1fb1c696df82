#include "core/diffusion/start.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/dot.h>

#include <algorithm>
#include <cmath>

namespace denoise {
namespace {

at::Tensor Noise(const UnitNoise& noise, at::IntArrayRef shape) {
  if (const uint64_t* seed = std::get_if<uint64_t>(&noise)) return NoiseSource(*seed).Draw(shape);
  return std::get<at::Tensor>(noise);
}

at::Tensor Mix(const NoiseStart& start, const at::Tensor& own, at::IntArrayRef shape) {
  at::Tensor noise = start.from ? Noise(*start.from, shape) : own;
  if (start.to) noise = Slerp(noise, Noise(*start.to, shape), start.fraction);
  return start.variation == 0 ? noise : Slerp(noise, own, start.variation);
}

}  // namespace

StartingState FindStartingState(const Start& start, const SamplerPlan& plan, bool draws_known,
                                NoiseSource& source, at::IntArrayRef shape) {
  const Evaluation& first = plan.evaluations.front();
  const at::Tensor own = source.Draw(shape);
  if (const auto* from = std::get_if<PictureStart>(&start)) {
    return {from->picture * first.alpha + own * first.sigma, own};
  }
  if (const auto* from = std::get_if<FrameStart>(&start)) {
    const int draws = plan.draws_left_out + (draws_known ? plan.first_step : 0);
    for (int draw = 0; draw < draws; ++draw) source.Draw(shape);
    return {from->is_x ? from->frame : from->frame / first.input_scale, own};
  }
  const at::Tensor noise = Mix(std::get<NoiseStart>(start), own, shape);
  return {noise * plan.init_noise_scale, noise};
}

at::Tensor Slerp(const at::Tensor& a, const at::Tensor& b, double fraction) {
  constexpr double kLeastSine = 1e-4;
  const at::Tensor flat_a = a.flatten().to(at::kDouble), flat_b = b.flatten().to(at::kDouble);
  const double length_a = std::sqrt(at::dot(flat_a, flat_a).item<double>());
  const double length_b = std::sqrt(at::dot(flat_b, flat_b).item<double>());
  const double cosine = at::dot(flat_a, flat_b).item<double>() / (length_a * length_b);
  const double sine = std::sqrt(std::max(0.0, 1 - cosine * cosine));
  if (!(sine > kLeastSine))
    return a * (1 - fraction) + b * fraction;  // NaN where one has no length
  const double angle = std::acos(cosine);
  return a * (std::sin((1 - fraction) * angle) / std::sin(angle)) +
         b * (std::sin(fraction * angle) / std::sin(angle));
}

}  // namespace denoise
