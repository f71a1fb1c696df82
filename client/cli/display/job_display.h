// What a person at a terminal sees while a job runs: the loss so far, the newest sample grid, and a
// line of progress.
#pragma once

#include <memory>

#include "absl/time/time.h"
#include "client/cli/display/job_history.h"
#include "client/cli/display/terminal.h"

namespace denoise {

// Not thread-safe.
class JobDisplay {
 public:
  // As LiveScreen takes them.
  JobDisplay(bool shown, std::unique_ptr<TerminalPicture> pictures);

  bool shown() const { return screen_.shown(); }

  // Draws the current state unless the last drawing was a moment ago.
  void Update(const JobHistory& history, absl::Time now);
  void Draw(const JobHistory& history);
  void Close() { screen_.Close(); }

 private:
  LiveScreen screen_;
  absl::Time drawn_ = absl::InfinitePast();
};

// The chart of the losses and the newest grid side by side, as RGBA, each as high as `height`;
// empty if there is neither.
Image DrawJob(const JobHistory& history, int width, int height);

}  // namespace denoise
