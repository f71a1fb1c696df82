#include "client/cli/commands/reconnector.h"

#include <cstdio>
#include <thread>

#include "absl/time/clock.h"

namespace denoise {
namespace {

// How long the server may be away, and how often to try to reach it.
constexpr absl::Duration kLongestAbsence = absl::Minutes(10);
constexpr absl::Duration kRetryInterval = absl::Seconds(1);

}  // namespace

Reconnector::Reconnector(const Interrupts& interrupts)
    : interrupts_(interrupts), last_event_(absl::Now()) {}

void Reconnector::OnEvent() {
  last_event_ = absl::Now();
  reported_ = false;
}

bool Reconnector::Wait(const std::function<void()>& prepare) {
  if (interrupts_.interrupted() || absl::Now() - last_event_ >= kLongestAbsence) return false;
  if (!reported_) {
    reported_ = true;
    prepare();
    std::fputs("denoise: the server is away; watching continues when it is back\n", stderr);
  }
  std::this_thread::sleep_for(absl::ToChronoMilliseconds(kRetryInterval));
  return true;
}

}  // namespace denoise
