#include "core/train/picture_prefetcher.h"

#include <utility>

#include "core/base/check.h"

namespace denoise {

PicturePrefetcher::PicturePrefetcher(Make make, int threads, int64_t capacity)
    : make_(std::move(make)), capacity_(capacity) {
  DENOISE_DCHECK(capacity >= 1);
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

PicturePrefetcher::~PicturePrefetcher() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  room_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

absl::StatusOr<Image> PicturePrefetcher::Take(int64_t position) {
  const MutexLock lock(mutex_);
  if (position != next_take_) StartAt(position);
  end_ = position + 1 + capacity_;
  room_.NotifyAll();
  while (!ready_.contains(position)) delivered_.Wait(mutex_);
  absl::StatusOr<Image> picture = std::move(ready_.extract(position).mapped());
  if (picture.ok()) {
    ++next_take_;
  } else {
    StartAt(position);
  }
  return picture;
}

void PicturePrefetcher::StartAt(int64_t position) {
  ready_.clear();
  next_take_ = next_claim_ = end_ = position;
  ++run_;
}

void PicturePrefetcher::Work() {
  while (const std::optional<Claim> claim = NextClaim()) Deliver(*claim, make_(claim->position));
}

std::optional<PicturePrefetcher::Claim> PicturePrefetcher::NextClaim() {
  const MutexLock lock(mutex_);
  while (!stopping_ && next_claim_ >= end_) room_.Wait(mutex_);
  if (stopping_) return std::nullopt;
  return Claim{next_claim_++, run_};
}

void PicturePrefetcher::Deliver(const Claim& claim, absl::StatusOr<Image> picture) {
  const MutexLock lock(mutex_);
  if (claim.run != run_) return;
  ready_.emplace(claim.position, std::move(picture));
  delivered_.NotifyAll();
}

}  // namespace denoise
