// Comes back to a stream that broke because the server went away.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/commands/interrupts.h"

namespace denoise {

// Not thread-safe. `interrupts` outlives it.
class Reconnector {
 public:
  explicit Reconnector(const Interrupts& interrupts);

  // An event has arrived: the server is there.
  void OnEvent();

  // For a stream that ended with UNAVAILABLE, or as such a one does: waits a moment and returns
  // true if it should be opened again after the last event. False once the server has been away for
  // ten minutes, or the user interrupts. Says once per absence, after `prepare`, that the watch
  // continues.
  bool Wait(const std::function<void()>& prepare);

 private:
  const Interrupts& interrupts_;
  absl::Time last_event_;
  bool reported_ = false;
};

}  // namespace denoise
