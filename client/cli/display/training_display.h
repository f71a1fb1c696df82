// What a person at a terminal sees while a job runs: the loss so far, the newest sample grid, and a
// line of progress.
#pragma once

#include <memory>

#include "absl/time/time.h"
#include "client/cli/display/live_screen.h"
#include "client/cli/display/training_history.h"

namespace denoise {

// Not thread-safe.
class TrainingDisplay {
 public:
  // As LiveScreen takes them.
  TrainingDisplay(bool shown, std::unique_ptr<TerminalPicture> pictures);

  bool shown() const { return screen_.shown(); }

  // Draws the present state, unless the last drawing was a moment ago.
  void Update(const TrainingHistory& history, absl::Time now);
  void Draw(const TrainingHistory& history);
  void Close() { screen_.Close(); }

 private:
  LiveScreen screen_;
  absl::Time drawn_ = absl::InfinitePast();
};

// The chart of the losses and the newest grid side by side, as RGBA, each as high as `height`; empty
// where there is neither.
Image DrawTraining(const TrainingHistory& history, int width, int height);

}  // namespace denoise
