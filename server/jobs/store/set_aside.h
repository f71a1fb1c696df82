// Moves what a server finds in its state folder and does not know out of its way. Nothing that
// describes neither itself nor its own deletion is ever removed.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "core/base/clock.h"
#include "server/jobs/store/job_observer.h"
#include "server/jobs/store/state_dir.h"

namespace denoise {

// Used by one thread at a time, while the server starts. Everything outlives it.
class SetAside {
 public:
  // `observer` may be null.
  SetAside(const StateDir* state, const Clock* clock, JobObserver* observer)
      : state_(state), clock_(clock), observer_(observer) {}

  // Moves a file or folder of the state folder into set-aside/TIME/, under a name made of its path,
  // durably. Reports it, with the reason. Errors are those of DiskStatus.
  absl::Status Move(const std::filesystem::path& path, std::string_view reason);

  absl::Time now() const { return clock_->Now(); }
  // Reports something else that was done to recover the state.
  void Report(std::string_view what, std::string_view item, std::string_view reason) const;

 private:
  absl::Status MakeFolder();

  const StateDir* const state_;
  const Clock* const clock_;
  JobObserver* const observer_;
  std::filesystem::path folder_;  // empty until something is moved
};

}  // namespace denoise
