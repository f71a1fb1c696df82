#include "server/models/model_memory.h"

namespace denoise {

ModelMemory::Reservation::~Reservation() {
  if (!memory_) return;
  {
    const MutexLock lock(memory_->mutex_);
    memory_->bytes_ -= bytes_;
  }
  memory_->changed_.NotifyAll();
}

std::shared_ptr<ModelMemory> ModelMemory::Create(int64_t bytes_max) {
  return std::shared_ptr<ModelMemory>(new ModelMemory(bytes_max));
}

int64_t ModelMemory::bytes() const {
  const MutexLock lock(mutex_);
  return bytes_;
}

std::optional<ModelMemory::Reservation> ModelMemory::Reserve(int64_t bytes) {
  const MutexLock lock(mutex_);
  while (!stopped_ && bytes_max_ != 0 && bytes_ + bytes > bytes_max_) changed_.Wait(mutex_);
  if (stopped_) return std::nullopt;
  bytes_ += bytes;
  return Reservation(shared_from_this(), bytes);
}

void ModelMemory::Stop() {
  {
    const MutexLock lock(mutex_);
    stopped_ = true;
  }
  changed_.NotifyAll();
}

}  // namespace denoise
