// Pictures of a data set as tensors, read ahead while a device does other work.
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

// Used by one thread. One batch is read ahead, on a thread of its own, from the beginning on; the
// destructor waits for it.
class PictureReader {
 public:
  // Pictures `indices` of `data`, in this order; `batch` at once.
  PictureReader(std::shared_ptr<const DataSet> data, std::vector<int64_t> indices,
                PictureShape shape, int64_t batch);

  bool done() const { return taken_ == size(); }
  int64_t taken() const { return taken_; }
  int64_t size() const { return static_cast<int64_t>(indices_.size()); }

  // Requires !done(). The next batch, flattened, cropped and resized to the shape: [B, C, H, W]
  // float32 in [-1, 1] on the CPU. nullopt: it is still being read; this waits for a few
  // milliseconds only, as a device may have other work. Errors are the data set's and
  // CropAndResize's.
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
