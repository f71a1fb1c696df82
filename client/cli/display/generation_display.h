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

// Where one generation stands, from its events. Not thread-safe.
class GenerationProgress {
 public:
  // `now` is the time of this machine; the clock of the server may differ.
  void Update(const denoised::v1::GenerateEvent& event, absl::Time now);

  // At most `width` columns, UTF-8, no newline:
  //   denoising ██████████░░░░░░  104/160 steps  3/8 images  41 steps/s  1 s left
  std::string Line(int width) const;
  // The same without the bar.
  std::string Text() const;

 private:
  std::string Numbers() const;

  enum class Phase { kWaiting, kQueued, kDenoising, kMoving, kPaused, kDone };

  // Steps per second since the first image left the queue, of the latest server; 0 as long as that
  // is unknown.
  double StepsPerSecond() const;

  Phase phase_ = Phase::kWaiting;
  denoised::v1::Queued queued_;
  int64_t steps_done_ = 0;
  int64_t steps_before_ = 0;  // steps_done_ at started_
  int64_t steps_total_ = 0;
  int images_done_ = 0;
  int images_total_ = 0;
  absl::Time started_ = absl::InfinitePast();
  absl::Time counted_ = absl::InfinitePast();  // when steps_done_ arrived
};

// Draws on standard error, in place, a few times a second at most. What is on the screen when it is
// closed stays. Not thread-safe.
class GenerationDisplay {
 public:
  // Without `pictures` it draws progress only. A display that is not `shown` does nothing at all.
  GenerationDisplay(bool shown, std::unique_ptr<TerminalPicture> pictures);

  bool shown() const { return screen_.shown(); }

  // Draws the current state unless the last drawing was a moment ago. `history` is null before
  // anything is known.
  void Update(const GenerationProgress& progress, const PictureHistory* history, absl::Time now);

  // Draws the current state at once, for events that are rare and may stay the last for long.
  void Draw(const GenerationProgress& progress, const PictureHistory* history);

  // Draws the last state and restores the terminal.
  void Close(const GenerationProgress& progress, const PictureHistory* history);
  void Close() { screen_.Close(); }

 private:
  LiveScreen screen_;
  GridLayout layout_;  // of the pictures on the screen; no rows: none yet
  absl::Time drawn_ = absl::InfinitePast();
};

}  // namespace denoise
