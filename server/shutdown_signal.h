// The signals that ask the process to end (SIGTERM, SIGINT, SIGHUP, SIGQUIT), as something to wait
// for.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>

namespace denoise {

// Made first thing in main, before any other thread, so that every thread leaves these signals to
// this one. Until Expect is called, and again once a signal has arrived, a signal ends the process
// at once.
class ShutdownSignal {
 public:
  ShutdownSignal();

  // From now on the first signal is for Wait. To be called before anybody can know that the server
  // is up, and so stop it.
  void Expect();

  // Blocks until the first signal, and returns its number.
  int Wait();

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable arrived;
    bool expected = false;
    int signal = 0;
  };
  static void Watch(const std::shared_ptr<State>& state);

  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace denoise
