#include "server/telemetry/resource_watch.h"

#include <utility>

namespace denoise {

ResourceWatch::ResourceWatch(std::vector<Look> looks, absl::Duration interval, const Clock* clock)
    : looks_(std::move(looks)), interval_(interval), clock_(clock), thread_([this] { Loop(); }) {}

ResourceWatch::~ResourceWatch() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  stopped_.NotifyAll();
  thread_.join();
}

void ResourceWatch::Loop() {
  do {
    for (const Look& look : looks_) look();
  } while (WaitForNextRound());
}

bool ResourceWatch::WaitForNextRound() {
  const MutexLock lock(mutex_);
  const absl::Time next_round = clock_->Now() + interval_;
  while (!stopping_ && clock_->Now() < next_round) {
    clock_->WaitUntil(stopped_, mutex_, next_round);
  }
  return !stopping_;
}

}  // namespace denoise
