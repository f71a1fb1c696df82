// Takes tensors from a checkpoint by name and shape, and collects everything that did not fit.
#pragma once

#include <ATen/core/Tensor.h>

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/base/field_violations.h"
#include "core/nn/state_dict.h"
#include "core/nn/stored_tensor.h"
#include "core/nn/weight_source.h"

namespace denoise::nn {

// A network asks for every tensor it needs, then calls Finish(), so that one error names all
// missing, misshapen and unexpected tensors; or, if they all fit, those that are not finite.
//
// Stored tensors are read when they are asked for, straight to their device and dtype. Once one
// does not fit, the rest are not read, only compared. Not thread-safe.
class WeightReader final : public WeightSource {
 public:
  // kCopied returns copies in contiguous storage. kShared returns tensors that are in memory
  // themselves if nothing has to be converted.
  enum class Storage { kCopied, kShared };

  // Returns tensors on `device` in `dtype`. `weights` must outlive the reader.
  WeightReader(const NamedTensors& weights, at::Device device, at::ScalarType dtype,
               Storage storage = Storage::kCopied);

  // The tensor under the first of `names` that exists, reshaped to `shape`. Trailing dimensions of
  // 1 may differ, since old checkpoints store some linear layers as 1x1 convolutions. Undefined if
  // the tensor does not fit, or is not read.
  at::Tensor Take(const std::vector<std::string>& names, at::IntArrayRef shape,
                  Initial initial) override;
  void Ignore(const std::string& name) override;
  void Replace(const std::string& name, const at::Tensor& tensor) override;

  // InvalidArgument with a field violation per tensor; 20 are named. Where missing tensors are
  // there under longer names, the first violation says so. Numbers that are not finite are looked
  // for in stored tensors only. Other errors are those of StoredTensor::Load.
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
  absl::Status CheckNames() const;
  absl::Status CheckFinite() const;

  at::Tensor Converted(const at::Tensor& tensor, const std::string& name, at::IntArrayRef shape);
  at::Tensor Converted(const StoredTensor& tensor, const std::string& name, at::IntArrayRef shape);

  const NamedTensors weights_;
  at::Device device_;
  at::ScalarType dtype_;
  Storage storage_;
  StateDict taken_;
  std::set<std::string> used_;  // names in weights_
  std::vector<Problem> problems_;
  std::vector<Problem> not_finite_;
  absl::Status read_;  // the first error of reading
  std::vector<std::string> missing_;
};

}  // namespace denoise::nn
