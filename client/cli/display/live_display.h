// What a person at a terminal sees while images are made: the pictures on their way, and a line of
// progress below.
#pragma once

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "client/cli/display/live_screen.h"
#include "client/cli/display/picture_grid.h"
#include "client/cli/display/picture_history.h"
#include "client/cli/display/progress.h"
#include "client/cli/display/terminal_picture.h"

namespace denoise {

// Draws on standard error, in place, a few times a second at most. Not thread-safe. What stands
// there when it is closed stays.
class LiveDisplay {
 public:
  // `pictures` may be null: progress only. A display that is not `shown` does nothing at all.
  LiveDisplay(bool shown, std::unique_ptr<TerminalPicture> pictures);

  // Draws the present state, unless the last drawing was a moment ago. `history` is null before
  // anything is known.
  void Update(const Progress& progress, const PictureHistory* history, absl::Time now);

  // Draws the present state at once: for what is rare, and may not change again for long.
  void Draw(const Progress& progress, const PictureHistory* history);

  // Draws the last state whatever the time, and gives the terminal back.
  void Close(const Progress& progress, const PictureHistory* history);
  void Close() { screen_.Close(); }

 private:
  LiveScreen screen_;
  GridLayout layout_;  // of the pictures on the screen; no pictures yet while it has no rows
  absl::Time drawn_ = absl::InfinitePast();
};

}  // namespace denoise
