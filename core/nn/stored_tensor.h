// Tensors of a checkpoint that are read when a network takes them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/nn/state_dict.h"

namespace denoise {

// Where the numbers of a tensor are kept. Immutable and thread-safe.
class TensorSource {
 public:
  virtual ~TensorSource() = default;

  // Calls `take` with the numbers [first, first + count) in row-major order, a few at a time:
  // vectors on the CPU in the tensor's dtype, valid during the call.
  using Take = std::function<void(const at::Tensor& piece)>;
  virtual absl::Status Read(int64_t first, int64_t count, const Take& take) const = 0;
};

// One tensor: its dtype and shape, and where its numbers are. Copies share them. Immutable and
// thread-safe.
class StoredTensor {
 public:
  StoredTensor() = default;  // undefined
  // One in memory on the CPU, which is kept and must not be written to. Not explicit.
  StoredTensor(const at::Tensor& tensor);
  StoredTensor(at::ScalarType dtype, std::vector<int64_t> sizes,
               std::shared_ptr<const TensorSource> source);

  bool defined() const { return source_ != nullptr; }
  at::ScalarType scalar_type() const { return dtype_; }
  at::IntArrayRef sizes() const { return sizes_; }
  int64_t numel() const;

  // The same numbers in another shape, a part of the rows, and a matrix with rows and columns
  // exchanged. What is exchanged has no other views.
  StoredTensor View(std::vector<int64_t> sizes) const;
  StoredTensor Rows(int64_t first, int64_t count) const;
  StoredTensor Transposed() const;

  struct Loaded {
    at::Tensor tensor;           // contiguous, in memory of its own
    int64_t num_not_finite = 0;  // how many numbers are NaN, infinite or beyond float32
  };
  // Reads the tensor to `device` in `dtype`, with little more memory than the result takes. Errors
  // are those of TensorSource::Read. Throws c10::Error if there is no such device or it is out of
  // memory.
  absl::StatusOr<Loaded> Load(at::Device device, at::ScalarType dtype) const;
  // The same on the CPU in its own dtype.
  absl::StatusOr<at::Tensor> Get() const;

 private:
  at::ScalarType dtype_ = at::kFloat;
  std::vector<int64_t> sizes_;
  std::shared_ptr<const TensorSource> source_;
  int64_t first_ = 0;  // number of the source
  bool transposed_ = false;
};

using StoredTensors = std::map<std::string, StoredTensor>;

StoredTensors Stored(const StateDict& tensors);
// Reads them all, as StoredTensor::Get.
absl::StatusOr<StateDict> ReadAll(const StoredTensors& tensors);

// What is wrong with a tensor of which `wrong` of `numel` numbers are not finite.
std::string DescribeNotFinite(int64_t wrong, int64_t numel);

// Tensors by name, which somebody else owns: in memory, or stored. Not explicit.
class NamedTensors {
 public:
  NamedTensors(const StateDict& tensors) : tensors_(&tensors) {}
  NamedTensors(const StoredTensors& tensors) : tensors_(&tensors) {}

  // Calls `f` with the map.
  template <typename Function>
  decltype(auto) Visit(const Function& f) const {
    return std::visit([&](const auto* tensors) -> decltype(auto) { return f(*tensors); }, tensors_);
  }
  bool contains(const std::string& name) const {
    return Visit([&](const auto& tensors) { return tensors.contains(name); });
  }

 private:
  std::variant<const StateDict*, const StoredTensors*> tensors_;
};

}  // namespace denoise
