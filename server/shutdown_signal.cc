#include "server/shutdown_signal.h"

#include <signal.h>

#include <cstdlib>
#include <thread>

namespace denoise {
namespace {

sigset_t ShutdownSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGQUIT}) sigaddset(&signals, signal);
  // nohup and the like have it ignored.
  struct sigaction action {};
  if (sigaction(SIGHUP, nullptr, &action) == 0 && action.sa_handler != SIG_IGN)
    sigaddset(&signals, SIGHUP);
  return signals;
}

// Those that would end the process by default, and that nobody means to end it by.
void IgnoreOthers() {
  for (const int signal : {SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM}) ::signal(signal, SIG_IGN);
}

}  // namespace

// The thread is left to itself: it has nothing to clean up, and nothing can wake it but a signal.
ShutdownSignal::ShutdownSignal() {
  const sigset_t signals = ShutdownSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  IgnoreOthers();
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
