#include "core/nn/stored_tensor.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/nn/mapped_tensor.h"

namespace denoise {
namespace {

constexpr int64_t kPieceNumbers = int64_t{1} << 18;

class MemorySource final : public TensorSource {
 public:
  explicit MemorySource(const at::Tensor& tensor) : flat_(tensor.contiguous().view({-1})) {}

  absl::Status Read(int64_t first, int64_t count, const Take& take) const override {
    for (int64_t done = 0; done < count; done += kPieceNumbers) {
      take(flat_.narrow(0, first + done, std::min(kPieceNumbers, count - done)));
    }
    return absl::OkStatus();
  }

 private:
  const at::Tensor flat_;
};

at::Tensor EmptyWeight(at::IntArrayRef sizes, at::Device device, at::ScalarType dtype) {
  if (device.is_cpu()) return EmptyMapped(sizes, dtype);
  return at::empty(sizes, at::TensorOptions().device(device).dtype(dtype));
}

// Counts only where there is something to count: the difference of a number and itself is 0 unless
// it is not finite.
int64_t CountNotFinite(const at::Tensor& piece) {
  const at::Tensor numbers = piece.to(at::kFloat);
  if ((numbers - numbers).sum().item<float>() == 0) return 0;
  return numbers.numel() - at::isfinite(numbers).sum().item<int64_t>();
}

}  // namespace

StoredTensor::StoredTensor(const at::Tensor& tensor) {
  if (!tensor.defined()) return;
  *this = StoredTensor(tensor.scalar_type(), tensor.sizes().vec(),
                       std::make_shared<MemorySource>(tensor));
}

StoredTensor::StoredTensor(at::ScalarType dtype, std::vector<int64_t> sizes,
                           std::shared_ptr<const TensorSource> source)
    : dtype_(dtype), sizes_(std::move(sizes)), source_(std::move(source)) {}

int64_t StoredTensor::numel() const { return c10::multiply_integers(sizes_); }

StoredTensor StoredTensor::View(std::vector<int64_t> sizes) const {
  DENOISE_DCHECK(!transposed_ && c10::multiply_integers(sizes) == numel());
  StoredTensor view = *this;
  view.sizes_ = std::move(sizes);
  return view;
}

StoredTensor StoredTensor::Rows(int64_t first, int64_t count) const {
  DENOISE_DCHECK(!transposed_ && first >= 0 && first + count <= sizes_.at(0));
  StoredTensor rows = *this;
  rows.sizes_[0] = count;
  rows.first_ += first * c10::multiply_integers(sizes().slice(1));
  return rows;
}

StoredTensor StoredTensor::Transposed() const {
  DENOISE_DCHECK(!transposed_ && sizes_.size() == 2);
  StoredTensor transposed = *this;
  std::swap(transposed.sizes_[0], transposed.sizes_[1]);
  transposed.transposed_ = true;
  return transposed;
}

absl::StatusOr<StoredTensor::Loaded> StoredTensor::Load(at::Device device,
                                                        at::ScalarType dtype) const {
  if (transposed_) {
    StoredTensor stored = *this;
    stored.transposed_ = false;
    std::swap(stored.sizes_[0], stored.sizes_[1]);
    ASSIGN_OR_RETURN(Loaded loaded, stored.Load(device, dtype));
    loaded.tensor = loaded.tensor.t().contiguous();
    return loaded;
  }
  Loaded loaded{.tensor = EmptyWeight(sizes_, device, dtype)};
  const at::Tensor flat = loaded.tensor.view({-1});
  int64_t done = 0;
  RETURN_IF_ERROR(source_->Read(first_, numel(), [&](const at::Tensor& piece) {
    loaded.num_not_finite += CountNotFinite(piece);
    flat.narrow(0, done, piece.numel()).copy_(piece);
    done += piece.numel();
  }));
  return loaded;
}

absl::StatusOr<at::Tensor> StoredTensor::Get() const {
  ASSIGN_OR_RETURN(Loaded loaded, Load(at::kCPU, dtype_));
  return std::move(loaded.tensor);
}

StoredTensors Stored(const StateDict& tensors) { return {tensors.begin(), tensors.end()}; }

absl::StatusOr<StateDict> ReadAll(const StoredTensors& tensors) {
  StateDict read;
  for (const auto& [name, tensor] : tensors) {
    ASSIGN_OR_RETURN(read[name], tensor.Get());
  }
  return read;
}

std::string DescribeNotFinite(int64_t wrong, int64_t numel) {
  return absl::StrCat("has ", wrong, " of ", numel,
                      " values that are NaN, infinite or beyond float32; use a checkpoint from "
                      "before the training diverged");
}

}  // namespace denoise
