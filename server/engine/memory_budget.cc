#include "server/engine/memory_budget.h"

#include <algorithm>

#include "core/diffusion/guidance.h"
#include "server/engine/memory_errors.h"

namespace denoise {

void MemoryBudget::AddDevice(int64_t total_bytes) {
  const MutexLock lock(mutex_);
  device_bytes_ = std::max(device_bytes_, total_bytes);
}

void MemoryBudget::Record(const Pipelines& pipelines, int64_t row_pixels, int64_t bytes) {
  const MutexLock lock(mutex_);
  std::erase_if(measured_, [](const auto& item) { return item.first.expired(); });
  Measured& largest = measured_[pipelines];
  if (row_pixels > largest.row_pixels) largest = {.row_pixels = row_pixels, .bytes = bytes};
}

std::optional<int64_t> MemoryBudget::BytesFor(const Pipelines& pipelines,
                                              int64_t row_pixels) const {
  const MutexLock lock(mutex_);
  const auto found = measured_.find(pipelines);
  if (found == measured_.end()) return std::nullopt;
  const auto& [measured_pixels, bytes] = found->second;
  return static_cast<int64_t>(static_cast<double>(bytes) * static_cast<double>(row_pixels) /
                              static_cast<double>(measured_pixels));
}

absl::Status MemoryBudget::Admit(const GenerationRequest& request) const {
  const int rows = MaxRows(request.conditioning, *request.plan);
  const std::optional<int64_t> bytes =
      BytesFor(request.pipelines, rows * request.shape.height * request.shape.width);
  const MutexLock lock(mutex_);
  if (!bytes || device_bytes_ == 0 || *bytes <= device_bytes_) return absl::OkStatus();
  const Pipeline& pipeline = *request.pipelines->front();
  const int64_t factor = pipeline.codec->spec().factor;
  return ImageTooLarge({.height = request.shape.height * factor,
                        .width = request.shape.width * factor,
                        .size_multiple = SizeMultiple(pipeline),
                        .rows = rows,
                        .bytes = *bytes,
                        .device_bytes = device_bytes_});
}

}  // namespace denoise
