#include "server/rpc/reader_watch.h"

#include <utility>

#include "absl/time/clock.h"

namespace denoise {

ReaderWatch::ReaderWatch(absl::Duration interval)
    : interval_(interval), thread_([this] { Loop(); }) {}

ReaderWatch::~ReaderWatch() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  stopped_.NotifyAll();
  thread_.join();
}

void ReaderWatch::Add(std::weak_ptr<WatchedReader> reader) {
  MutexLock lock(mutex_);
  readers_.push_back(std::move(reader));
}

void ReaderWatch::Loop() {
  while (WaitForNextRound()) {
    for (const auto& reader : Readers()) reader->CheckReader();
  }
}

bool ReaderWatch::WaitForNextRound() {
  MutexLock lock(mutex_);
  const absl::Time next_round = absl::Now() + interval_;
  while (!stopping_ && !stopped_.WaitUntil(mutex_, next_round)) {
  }
  return !stopping_;
}

// Those that live; the others are forgotten.
std::vector<std::shared_ptr<WatchedReader>> ReaderWatch::Readers() {
  MutexLock lock(mutex_);
  std::vector<std::shared_ptr<WatchedReader>> alive;
  std::erase_if(readers_, [&alive](const std::weak_ptr<WatchedReader>& reader) {
    auto held = reader.lock();
    if (!held) return true;
    alive.push_back(std::move(held));
    return false;
  });
  return alive;
}

}  // namespace denoise
