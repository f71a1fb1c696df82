// Reads pictures of a data set as tensors, ahead of their use, while a device does other work.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/data_set.h"

namespace denoise {

struct PictureShape {
  int64_t channels = 0;  // 1 or 3
  int64_t height = 0;
  int64_t width = 0;
};

// Not thread-safe. A thread of its own reads one batch ahead, starting at construction; the
// destructor waits for it.
class PictureReader {
 public:
  // Reads the pictures `indices` of `data`, in this order, `batch` at a time.
  PictureReader(std::shared_ptr<const DataSet> data, std::vector<int64_t> indices,
                PictureShape shape, int64_t batch);

  bool done() const { return taken_ == size(); }
  int64_t taken() const { return taken_; }
  int64_t size() const { return static_cast<int64_t>(indices_.size()); }

  // Returns the next batch, flattened, cropped and resized to the shape: [B, C, H, W] float32 in
  // [-1, 1] on the CPU. nullopt: it is still being read; the call waits only a few milliseconds, as
  // the device may have other work. Requires !done(). Errors are those of the data set and
  // CropAndResize.
  absl::StatusOr<std::optional<at::Tensor>> Next();

 private:
  using Samples = absl::StatusOr<std::vector<float>>;

  void ReadAhead();

  std::shared_ptr<const DataSet> data_;
  std::vector<int64_t> indices_;
  PictureShape shape_;
  int64_t batch_;
  int64_t taken_ = 0;
  std::future<Samples> ahead_;
};

}  // namespace denoise
