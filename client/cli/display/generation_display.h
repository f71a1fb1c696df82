// What a person at a terminal sees while images are generated: the latest pictures, and a line of
// progress below them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "client/cli/display/picture_grid.h"
#include "client/cli/display/picture_history.h"
#include "client/cli/display/terminal.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

// Follows the events of one generation. Not thread-safe.
class GenerationProgress {
 public:
  // `now` is this machine's time, since the server's clock may differ.
  void Update(const denoised::v1::GenerateEvent& event, absl::Time now);

  // At most `width` columns, UTF-8, no newline:
  //   denoising ██████████░░░░░░  104/160 steps  3/8 images  41 steps/s  1 s left
  std::string Line(int width) const;

 private:
  enum class Phase { kWaiting, kQueued, kDenoising, kDone };

  // Steps per second since the first image left the queue; 0 while it cannot be told.
  double StepsPerSecond() const;

  Phase phase_ = Phase::kWaiting;
  int queue_position_ = 0;
  int64_t steps_done_ = 0;
  int64_t steps_total_ = 0;
  int images_done_ = 0;
  int images_total_ = 0;
  absl::Time started_ = absl::InfinitePast();
  absl::Time counted_ = absl::InfinitePast();  // when steps_done_ was heard of
};

// Draws on standard error, in place, a few times a second at most. Not thread-safe. What stands
// there when it is closed stays.
class GenerationDisplay {
 public:
  // `pictures` may be null: progress only. A display that is not `shown` does nothing at all.
  GenerationDisplay(bool shown, std::unique_ptr<TerminalPicture> pictures);

  // Draws the present state, unless the last drawing was a moment ago. `history` is null before
  // anything is known.
  void Update(const GenerationProgress& progress, const PictureHistory* history, absl::Time now);

  // Draws the present state at once: for what is rare, and may not change again for long.
  void Draw(const GenerationProgress& progress, const PictureHistory* history);

  // Draws the last state whatever the time, and gives the terminal back.
  void Close(const GenerationProgress& progress, const PictureHistory* history);
  void Close() { screen_.Close(); }

 private:
  LiveScreen screen_;
  GridLayout layout_;  // of the pictures on the screen; no pictures yet while it has no rows
  absl::Time drawn_ = absl::InfinitePast();
};

}  // namespace denoise
