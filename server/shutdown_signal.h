// SIGTERM and SIGINT, as something to wait for.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>

namespace denoise {

// Made first thing in main, before any other thread, so that every thread leaves these signals to
// this one. Until Wait is called, and again once it has returned, a signal ends the process at
// once.
class ShutdownSignal {
 public:
  ShutdownSignal();

  // Blocks until the first signal, and returns its number. Called once.
  int Wait();

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable arrived;
    bool waiting = false;
    int signal = 0;
  };
  static void Watch(const std::shared_ptr<State>& state);

  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace denoise
