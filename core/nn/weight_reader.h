// Takes tensors from a checkpoint by name and shape, and collects everything that did not fit.
#pragma once

#include <ATen/core/Tensor.h>

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/base/field_violations.h"
#include "core/nn/state_dict.h"
#include "core/nn/weight_source.h"

namespace denoise::nn {

// A network asks for every tensor it needs, then calls Finish(), so that one error names all
// missing, misshapen and unexpected tensors. Not thread-safe.
class WeightReader final : public WeightSource {
 public:
  // kCopied returns copies in contiguous storage, since a checkpoint may be a mapped file. kShared
  // returns the tensors themselves if nothing has to be converted.
  enum class Storage { kCopied, kShared };

  // Returns tensors on `device` in `dtype`. `weights` must outlive the reader.
  WeightReader(const StateDict& weights, at::Device device, at::ScalarType dtype,
               Storage storage = Storage::kCopied);

  // The tensor under the first of `names` that exists, reshaped to `shape`. Trailing dimensions of
  // 1 may differ, since old checkpoints store some linear layers as 1x1 convolutions. Undefined if
  // the tensor does not fit.
  at::Tensor Take(const std::vector<std::string>& names, at::IntArrayRef shape,
                  Initial initial) override;
  void Ignore(const std::string& name) override;
  void Replace(const std::string& name, const at::Tensor& tensor) override;

  // InvalidArgument with a field violation per tensor; 20 are named. Where missing tensors are
  // there under longer names, the first violation says so.
  absl::Status Finish() const;

  // Every tensor returned so far, or its replacement, under the first of its names.
  const StateDict& taken() const { return taken_; }

 private:
  struct Problem {
    std::string name;
    std::string description;
  };

  // Adds a violation for the first part that most missing tensors have too much ("module.").
  void ReportPrefix(FieldViolations& violations) const;

  const StateDict& weights_;
  at::Device device_;
  at::ScalarType dtype_;
  Storage storage_;
  StateDict taken_;
  std::set<std::string> used_;  // names in weights_
  std::vector<Problem> problems_;
  std::vector<std::string> missing_;
};

}  // namespace denoise::nn
