// Where the layers of a network get their tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

namespace denoise::nn {

// How to initialise a tensor of a new network: with a constant, uniformly in [-scale, scale), or
// with a normal distribution of standard deviation `scale`.
struct Initial {
  enum class Kind { kConstant, kUniform, kNormal };
  Kind kind;
  double scale;

  static Initial Constant(double value) { return {Kind::kConstant, value}; }
  static Initial Normal(double deviation) { return {Kind::kNormal, deviation}; }
  // For weight and bias of a layer that sums `fan_in` numbers, as in PyTorch: the uniform
  // distribution of He et al. 2015 with a leaky slope of sqrt(5), which simplifies to 1 /
  // sqrt(fan_in).
  static Initial ForFanIn(int64_t fan_in) {
    return {Kind::kUniform, 1 / std::sqrt(static_cast<double>(fan_in))};
  }
};

// Supplies every tensor of a network.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  // Returns the tensor stored under any of `names` (current name first, then historical aliases) as
  // `shape`. If it is undefined, do not use the network.
  virtual at::Tensor Take(const std::vector<std::string>& names, at::IntArrayRef shape,
                          Initial initial) = 0;

  // Marks `name` as known but unused, if it is present.
  virtual void Ignore(const std::string& name) = 0;

  // Says that the layer holds `tensor` in place of the one it took as `name`: the same values in
  // another order in memory. The source then does not keep both.
  virtual void Replace(const std::string& name, const at::Tensor& tensor) = 0;
};

// A prefix in the tree of names: WeightScope{source, ""} / "down_blocks" / 0 takes tensors under
// "down_blocks.0.".
struct WeightScope {
  WeightSource& source;
  std::string prefix;

  WeightScope operator/(std::string_view name) const {
    return {source, prefix + std::string(name) + "."};
  }
  WeightScope operator/(size_t index) const { return *this / std::to_string(index); }

  // Of the layer whose tensors are in the scope, without the final dot.
  std::string Name() const { return prefix.substr(0, prefix.find_last_of('.')); }

  at::Tensor Take(std::string_view name, at::IntArrayRef shape, Initial initial) const {
    return source.Take({prefix + std::string(name)}, shape, initial);
  }

  void Replace(std::string_view name, const at::Tensor& tensor) const {
    source.Replace(prefix + std::string(name), tensor);
  }
};

}  // namespace denoise::nn
