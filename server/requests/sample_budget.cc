#include "server/requests/sample_budget.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/retry.h"

namespace denoise {
namespace {

constexpr absl::Duration kRetryDelay = absl::Seconds(1);

// Rounded up, so that nothing reads as 0 MiB.
int64_t InMib(int64_t bytes) { return (bytes + (1 << 20) - 1) >> 20; }

}  // namespace

int64_t SampleBytes(const SampleShape& shape) {
  return shape.numel() * static_cast<int64_t>(sizeof(float));
}

SampleBudget::Reservation::Reservation(Reservation&& other) noexcept
    : budget_(std::exchange(other.budget_, nullptr)), bytes_(other.bytes_) {}

SampleBudget::Reservation& SampleBudget::Reservation::operator=(Reservation&& other) noexcept {
  std::swap(budget_, other.budget_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

SampleBudget::Reservation::~Reservation() {
  if (budget_ != nullptr) budget_->Release(bytes_);
}

absl::StatusOr<SampleBudget::Reservation> SampleBudget::Reserve(int64_t bytes) {
  MutexLock lock(mutex_);
  if (bytes_ > 0 && bytes > bytes_max_ - bytes_) {
    return UnavailableRetryAfter(
        absl::StrCat("too many results are unread: ", InMib(bytes_), " of ", InMib(bytes_max_),
                     " MiB are reserved for them (--max-unread-mib), and this call needs up to ",
                     InMib(bytes), " MiB. Retry in ", absl::FormatDuration(kRetryDelay)),
        kRetryDelay);
  }
  bytes_ += bytes;
  return Reservation(this, bytes);
}

void SampleBudget::Release(int64_t bytes) {
  MutexLock lock(mutex_);
  bytes_ -= bytes;
}

}  // namespace denoise
