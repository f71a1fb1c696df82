// Where the layers of a network get their tensors from.
#pragma once

#include <ATen/core/Tensor.h>

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

namespace denoise::nn {

// What a tensor of a new network is filled with: a constant, or draws from [-scale, scale) or from
// a normal distribution of standard deviation `scale`.
struct Initial {
  enum class Kind { kConstant, kUniform, kNormal };
  Kind kind;
  double scale;

  static Initial Constant(double value) { return {Kind::kConstant, value}; }
  static Initial Normal(double deviation) { return {Kind::kNormal, deviation}; }
  // Weight and bias of a layer that sums `fan_in` numbers, as PyTorch has it: He et al. 2015's
  // uniform distribution with a leaky slope of sqrt(5) comes down to 1 / sqrt(fan_in).
  static Initial ForFanIn(int64_t fan_in) {
    return {Kind::kUniform, 1 / std::sqrt(static_cast<double>(fan_in))};
  }
};

// A network asks it for every tensor that it is made of.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  // The tensor that has one of `names`, the first of which is the one of today, as `shape`. May be
  // undefined: then the network is not to be used.
  virtual at::Tensor Take(const std::vector<std::string>& names, at::IntArrayRef shape,
                          Initial initial) = 0;

  // Takes `name`, where present, as known and without use.
  virtual void Ignore(const std::string& name) = 0;
};

// A place in the tree of names: WeightScope{source, ""} / "down_blocks" / 0 reads names under
// "down_blocks.0.".
struct WeightScope {
  WeightSource& source;
  std::string prefix;

  WeightScope operator/(std::string_view name) const {
    return {source, prefix + std::string(name) + "."};
  }
  WeightScope operator/(size_t index) const { return *this / std::to_string(index); }

  at::Tensor Take(std::string_view name, at::IntArrayRef shape, Initial initial) const {
    return source.Take({prefix + std::string(name)}, shape, initial);
  }
};

}  // namespace denoise::nn
