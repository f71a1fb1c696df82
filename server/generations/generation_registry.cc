#include "server/generations/generation_registry.h"

#include <iterator>

#include "core/base/status_macros.h"
#include "server/requests/field_checks.h"

namespace denoise {

GenerationRegistry::GenerationRegistry(const Limits& limits, const Clock* clock,
                                       std::function<void()> on_change)
    : limits_(limits), clock_(clock), on_change_(std::move(on_change)) {}

GenerationRef GenerationRegistry::Find(std::string_view full_name) {
  ForgetExpired();
  const auto found = by_name_.find(full_name);
  return found == by_name_.end() ? nullptr : found->second;
}

GenerationRef GenerationRegistry::FindNumber(int64_t number) const {
  const auto found = by_number_.find(number);
  return found == by_number_.end() ? nullptr : found->second;
}

std::vector<GenerationRef> GenerationRegistry::ListBefore(int64_t before, size_t limit,
                                                          const Identity& viewer) {
  ForgetExpired();
  std::vector<GenerationRef> generations;
  auto next = std::make_reverse_iterator(by_number_.lower_bound(before));
  for (; next != by_number_.rend() && generations.size() < limit; ++next) {
    if (viewer.Sees(next->second->tenant)) generations.push_back(next->second);
  }
  return generations;
}

GenerationRef GenerationRegistry::Add(const GenerationRef& generation) {
  GenerationRef replaced;
  if (const auto older = by_name_.find(generation->full_name); older != by_name_.end()) {
    replaced = older->second;
    Remove(replaced);
  }
  by_name_[generation->full_name] = generation;
  by_number_[generation->number] = generation;
  generation->indexed = true;
  return replaced;
}

void GenerationRegistry::Remove(const GenerationRef& generation) {
  if (!std::exchange(generation->indexed, false)) return;
  by_name_.erase(generation->full_name);
  by_number_.erase(generation->number);
  const GenerationLog::Snapshot now = generation->log.snapshot();
  if (!now.ended) return;
  expiries_.erase({ExpiryOf(now, limits_.keep_times), generation->number});
  ends_.erase({*now.ended, generation->number});
}

void GenerationRegistry::RetainOrForget(const GenerationRef& generation) {
  const GenerationLog::Snapshot now = generation->log.snapshot();
  if (!now.ended) return;
  const bool kept = IsKept(*generation, now);
  if (generation->indexed && kept) {
    expiries_.emplace(ExpiryOf(now, limits_.keep_times), generation->number);
    ends_.emplace(*now.ended, generation->number);
    on_change_();
  }
  if (generation->readers > 0) return;
  generation->reservation = {};
  if (!generation->indexed || !kept) return Forget(generation);
  if (generation->kept_bytes == 0) {
    generation->kept_bytes = kCallBytes + now.sample_bytes +
                             static_cast<int64_t>(generation->log.accepted().ByteSizeLong() +
                                                  generation->request.ByteSizeLong());
    kept_bytes_ += generation->kept_bytes;
  }
  ForgetExpired();
}

absl::Status GenerationRegistry::TakeFromKept(Generation& generation, SampleBudget& samples) {
  if (generation.kept_bytes == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(generation.reservation, samples.Reserve(generation.kept_bytes));
  kept_bytes_ -= std::exchange(generation.kept_bytes, 0);
  return absl::OkStatus();
}

void GenerationRegistry::Forget(const GenerationRef& generation) {
  kept_bytes_ -= std::exchange(generation->kept_bytes, 0);
  if (!generation->indexed) return;
  forgotten_.push_back(generation);
  on_change_();
  Remove(generation);
  if (!expired_names_.insert(generation->full_name).second) return;
  expired_.push_back(generation->full_name);
  if (expired_.size() <= limits_.expired_names) return;
  expired_names_.erase(expired_.front());
  expired_.pop_front();
}

void GenerationRegistry::ForgetExpired() {
  const absl::Time now = clock_->Now();
  while (!expiries_.empty() && expiries_.begin()->first <= now) {
    Forget(GenerationRef(by_number_.at(expiries_.begin()->second)));
  }
  for (auto next = ends_.begin(); next != ends_.end() && kept_bytes_ > limits_.keep_bytes;) {
    const GenerationRef oldest = by_number_.at((next++)->second);
    if (oldest->kept_bytes > 0) Forget(oldest);
  }
}

absl::Time GenerationRegistry::next_expiry() const {
  return expiries_.empty() ? absl::InfiniteFuture() : expiries_.begin()->first;
}

}  // namespace denoise
