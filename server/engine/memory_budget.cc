#include "server/engine/memory_budget.h"

#include <algorithm>

#include "core/diffusion/guidance.h"
#include "server/engine/memory_errors.h"

namespace denoise {
namespace {

constexpr size_t kMaxSizes = 64;  // callers choose them

}  // namespace

bool HasFree(const DeviceRuntime& runtime, int64_t bytes) {
  const std::optional<DeviceMemory> memory = runtime.Memory();
  return !memory || bytes <= memory->free_bytes;
}

void MemoryBudget::AddDevice(int64_t total_bytes) {
  const MutexLock lock(mutex_);
  device_bytes_ = std::max(device_bytes_, total_bytes);
}

// The least of several measurements counts: others may have allocated at the same time.
void MemoryBudget::Record(const Pipelines& pipelines, int64_t pixels, int rows, int64_t bytes) {
  const MutexLock lock(mutex_);
  std::erase_if(measured_, [](const auto& item) { return item.first.expired(); });
  Sizes& sizes = measured_[pipelines];
  Measured& of_size = sizes[pixels];
  if (rows > of_size.rows || (rows == of_size.rows && bytes < of_size.bytes)) {
    of_size = {.rows = rows, .bytes = bytes};
  }
  if (sizes.size() > kMaxSizes) sizes.erase(sizes.begin());
}

std::optional<int64_t> MemoryBudget::BytesFor(const Pipelines& pipelines, int64_t pixels,
                                              int rows) const {
  const MutexLock lock(mutex_);
  const auto found = measured_.find(pipelines);
  if (found == measured_.end()) return std::nullopt;
  auto nearest = found->second.upper_bound(pixels);
  if (nearest != found->second.begin()) --nearest;
  const auto& [measured_pixels, measured] = *nearest;
  return static_cast<int64_t>(static_cast<double>(measured.bytes) * rows / measured.rows *
                              static_cast<double>(pixels) / static_cast<double>(measured_pixels));
}

absl::Status MemoryBudget::Admit(const GenerationRequest& request) const {
  const int rows = MaxRows(request.conditioning, *request.plan);
  const std::optional<int64_t> bytes =
      BytesFor(request.pipelines, request.shape.height * request.shape.width, rows);
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
