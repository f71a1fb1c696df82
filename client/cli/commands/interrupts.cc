#include "client/cli/commands/interrupts.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <utility>

#include "client/cli/commands/error_report.h"

namespace denoise {
namespace {

sigset_t InterruptSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

// Cleans up nothing but the cursor, which a live display hides.
[[noreturn]] void Die() {
  constexpr char kShowCursor[] = "\x1b[?25h\n";
  if (isatty(STDERR_FILENO)) {
    [[maybe_unused]] const ssize_t ignored =
        write(STDERR_FILENO, kShowCursor, sizeof(kShowCursor) - 1);
  }
  _exit(kExitInterrupted);
}

}  // namespace

Interrupts::Interrupts() {
  const sigset_t signals = InterruptSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  thread_ = std::thread([this] { Wait(); });
}

Interrupts::~Interrupts() {
  stopping_ = true;
  pthread_kill(thread_.native_handle(), SIGINT);
  thread_.join();
  const sigset_t signals = InterruptSignals();
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

void Interrupts::SetHandler(std::function<void()> handler) {
  const MutexLock lock(mutex_);
  handler_ = std::move(handler);
}

void Interrupts::Wait() {
  const sigset_t signals = InterruptSignals();
  int signal = 0;
  while (sigwait(&signals, &signal) == 0 && !stopping_) {
    if (interrupted_.exchange(true)) Die();
    const MutexLock lock(mutex_);
    if (!handler_) Die();
    handler_();
  }
}

}  // namespace denoise
