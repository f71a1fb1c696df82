// Where a generation stands, as one line of text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

// Follows the events of one generation. Not thread-safe.
class Progress {
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

}  // namespace denoise
