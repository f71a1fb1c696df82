#include "server/shutdown_signal.h"

#include <signal.h>

#include <cstdlib>
#include <thread>

namespace denoise {
namespace {

sigset_t ShutdownSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

}  // namespace

// The thread is left to itself: it has nothing to clean up, and nothing can wake it but a signal.
ShutdownSignal::ShutdownSignal() {
  const sigset_t signals = ShutdownSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([state = state_] { Watch(state); }).detach();
}

void ShutdownSignal::Expect() {
  std::lock_guard lock(state_->mutex);
  state_->expected = true;
}

int ShutdownSignal::Wait() {
  std::unique_lock lock(state_->mutex);
  state_->arrived.wait(lock, [this] { return state_->signal != 0; });
  return state_->signal;
}

// Not the signals' default actions: those are nothing for the first process of a container.
void ShutdownSignal::Watch(const std::shared_ptr<State>& state) {
  const sigset_t signals = ShutdownSignals();
  while (true) {
    int signal = 0;
    sigwait(&signals, &signal);
    std::lock_guard lock(state->mutex);
    if (!state->expected || state->signal != 0) std::_Exit(128 + signal);
    state->signal = signal;
    state->arrived.notify_one();
  }
}

}  // namespace denoise
