// What happened to one request of a benchmark.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace denoise {

struct CallOutcome {
  size_t request = 0;  // its index in the trace
  absl::Time arrival;  // when it was meant to be sent: latencies count from here

  // Absent: too many calls were in flight, and everything below has no meaning.
  std::optional<absl::Time> sent;
  absl::Time end;
  absl::Status status;
  bool cut_off = false;  // the benchmark itself cancelled it

  std::optional<absl::Duration> queue_wait;  // as the server says
  std::optional<absl::Duration> first_frame;
  int images = 0;
  int frames = 0;
  int frames_dropped = 0;
  int steps_left_out = 0;  // of each image, because of allow_fewer_steps
  // Evaluations times rows that the server did for it, as far as its progress tells.
  double row_evaluations = 0;

  bool succeeded() const { return sent.has_value() && status.ok(); }
  absl::Duration latency() const { return end - arrival; }
};

}  // namespace denoise
