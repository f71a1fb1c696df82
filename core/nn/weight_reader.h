// Takes tensors out of a checkpoint by name and shape, and remembers all that did not fit.
#pragma once

#include <ATen/core/Tensor.h>

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/nn/state_dict.h"
#include "core/nn/weight_source.h"

namespace denoise::nn {

// A network asks for every tensor it needs, then calls Finish(): so that one error names every
// missing, misshapen and unexpected tensor. Not thread-safe.
class WeightReader final : public WeightSource {
 public:
  // What tensors are handed out as: contiguous storage of their own, since a checkpoint may be a
  // mapped file that goes away, or changes; or the tensors themselves where nothing has to change.
  enum class Storage { kCopied, kShared };

  // Tensors are handed out on `device` in `dtype`. `weights` must outlive the reader.
  WeightReader(const StateDict& weights, at::Device device, at::ScalarType dtype,
               Storage storage = Storage::kCopied);

  // The tensor of the first of `names` that is there, as `shape`; trailing dimensions of 1 may be
  // there or not, since old checkpoints store some linear layers as 1x1 convolutions. Undefined if
  // it does not fit.
  at::Tensor Take(const std::vector<std::string>& names, at::IntArrayRef shape,
                  Initial initial) override;
  void Ignore(const std::string& name) override;

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
  Storage storage_;
  StateDict taken_;
  std::set<std::string> used_;  // names in weights_
  std::vector<Problem> problems_;
};

}  // namespace denoise::nn
