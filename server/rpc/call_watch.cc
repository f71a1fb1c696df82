#include "server/rpc/call_watch.h"

#include <utility>

namespace denoise {

void WatchedCall::BeginWait() {
  const MutexLock lock(mutex_);
  wait_began_ = clock_->Now();
}

void WatchedCall::EndWait() {
  const MutexLock lock(mutex_);
  wait_began_ = absl::InfiniteFuture();
}

void WatchedCall::Leave() {
  const MutexLock lock(mutex_);
  context_ = nullptr;
}

void WatchedCall::CancelIfStalled() {
  const MutexLock lock(mutex_);
  if (context_ == nullptr || clock_->Now() - wait_began_ <= wait_max_) return;
  stalled_ = true;
  context_->TryCancel();
}

bool WatchedCall::stalled() const {
  const MutexLock lock(mutex_);
  return stalled_;
}

CallWatch::CallWatch(absl::Duration interval, const Clock* clock)
    : interval_(interval), clock_(clock), thread_([this] { Loop(); }) {}

CallWatch::~CallWatch() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  stopped_.NotifyAll();
  thread_.join();
}

void CallWatch::Add(std::weak_ptr<WatchedCall> call) {
  MutexLock lock(mutex_);
  calls_.push_back(std::move(call));
}

void CallWatch::Loop() {
  while (WaitForNextRound()) {
    for (const auto& call : Calls()) call->CancelIfStalled();
  }
}

bool CallWatch::WaitForNextRound() {
  MutexLock lock(mutex_);
  const absl::Time next_round = clock_->Now() + interval_;
  while (!stopping_ && clock_->Now() < next_round) {
    clock_->WaitUntil(stopped_, mutex_, next_round);
  }
  return !stopping_;
}

// Those that live; the others are forgotten.
std::vector<std::shared_ptr<WatchedCall>> CallWatch::Calls() {
  MutexLock lock(mutex_);
  std::vector<std::shared_ptr<WatchedCall>> alive;
  std::erase_if(calls_, [&alive](const std::weak_ptr<WatchedCall>& call) {
    auto held = call.lock();
    if (!held) return true;
    alive.push_back(std::move(held));
    return false;
  });
  return alive;
}

}  // namespace denoise
