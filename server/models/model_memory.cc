#include "server/models/model_memory.h"

#include <limits>

namespace denoise {

ModelMemory::Reservation::~Reservation() {
  if (!memory_) return;
  {
    const MutexLock lock(memory_->mutex_);
    memory_->Add(-bytes_);
    ++memory_->releases_;
  }
  memory_->changed_.NotifyAll();
}

std::shared_ptr<ModelMemory> ModelMemory::Create(int64_t bytes_max, Listener on_change) {
  return std::shared_ptr<ModelMemory>(new ModelMemory(bytes_max, std::move(on_change)));
}

void ModelMemory::Add(int64_t bytes) {
  bytes_ += bytes;
  if (on_change_) on_change_(bytes_);
}

std::optional<ModelMemory::Reservation> ModelMemory::TryReserve(int64_t bytes) {
  const MutexLock lock(mutex_);
  if (bytes_max_ != 0 && bytes_ + bytes > bytes_max_) return std::nullopt;
  Add(bytes);
  return Reservation(shared_from_this(), bytes);
}

int64_t ModelMemory::free_bytes() const {
  const MutexLock lock(mutex_);
  return bytes_max_ == 0 ? std::numeric_limits<int64_t>::max() : bytes_max_ - bytes_;
}

int64_t ModelMemory::releases() const {
  const MutexLock lock(mutex_);
  return releases_;
}

void ModelMemory::WaitForRelease(int64_t seen, const Clock& clock, absl::Time deadline) {
  const MutexLock lock(mutex_);
  while (!stopped_ && releases_ <= seen && clock.Now() < deadline) {
    clock.WaitUntil(changed_, mutex_, deadline);
  }
}

void ModelMemory::Stop() {
  {
    const MutexLock lock(mutex_);
    stopped_ = true;
  }
  changed_.NotifyAll();
}

}  // namespace denoise
