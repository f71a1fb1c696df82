// Takes tensors out of a checkpoint by name and shape, and remembers all that did not fit.
#pragma once

#include <ATen/core/Tensor.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "core/nn/state_dict.h"

namespace denoise::nn {

// A network asks for every tensor it needs, then calls Finish(): so that one error names every
// missing, misshapen and unexpected tensor. Not thread-safe.
class WeightReader {
 public:
  // Tensors are handed out on `device` in `dtype`, as new contiguous storage: a checkpoint may be a
  // mapped file that goes away, or changes. `weights` must outlive the reader.
  WeightReader(const StateDict& weights, at::Device device, at::ScalarType dtype);

  // The tensor of the first of `names` that is there, as `shape`; trailing dimensions of 1 may be
  // there or not, since old checkpoints store some linear layers as 1x1 convolutions. Undefined if
  // it does not fit.
  at::Tensor Take(const std::vector<std::string>& names, at::IntArrayRef shape);

  // Takes `name`, where present, as known and without use.
  void Ignore(const std::string& name);

  // InvalidArgument with a field violation per tensor, the first 20 of them by name.
  absl::Status Finish() const;

  // Every tensor handed out, by the first of its names.
  const StateDict& taken() const { return taken_; }

 private:
  struct Problem {
    std::string name;
    std::string description;
  };

  const StateDict& weights_;
  at::Device device_;
  at::ScalarType dtype_;
  StateDict taken_;
  std::set<std::string> used_;  // names in weights_
  std::vector<Problem> problems_;
};

// A place in the tree of names: WeightScope{reader, ""} / "down_blocks" / 0 reads names under
// "down_blocks.0.".
struct WeightScope {
  WeightReader& reader;
  std::string prefix;

  WeightScope operator/(std::string_view name) const {
    return {reader, prefix + std::string(name) + "."};
  }
  WeightScope operator/(size_t index) const { return *this / std::to_string(index); }

  at::Tensor Take(std::string_view name, at::IntArrayRef shape) const {
    return reader.Take({prefix + std::string(name)}, shape);
  }
};

}  // namespace denoise::nn
