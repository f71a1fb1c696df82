// What work costs, as measured: the time of one evaluation by its number of rows, and of encoding
// and decoding an image, for each network and size of x. Not thread-safe.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "server/scheduling/work.h"

namespace denoise {

// The time that something takes, from repeated measurements: their mean at first, then a moving
// average that follows slow changes.
class MeasuredTime {
 public:
  // Counts as known after so many measurements.
  static constexpr int kSamplesKnown = 3;

  void Record(absl::Duration time);
  // Takes `time` for typical until something is recorded.
  void Assume(absl::Duration time);
  // A typical time, and the shortest that was recorded: infinite before that.
  absl::Duration typical() const { return typical_; }
  absl::Duration shortest() const { return shortest_; }
  int samples() const { return samples_; }
  bool known() const { return samples_ >= kSamplesKnown || assumed_; }

 private:
  absl::Duration typical_;
  absl::Duration shortest_ = absl::InfiniteDuration();
  int samples_ = 0;
  bool assumed_ = false;
};

// The time of an evaluation by its number of rows.
class EvaluationCurve {
 public:
  struct Point {
    int rows;
    absl::Duration time;
  };

  void Record(int rows, absl::Duration time);
  // What an earlier process has measured: a typical time until there are enough of this process.
  void Assume(int rows, absl::Duration time) { times_[rows].Assume(time); }
  bool empty() const { return times_.empty(); }

  // Interpolated between the numbers of rows that were measured, and proportional beyond the
  // largest; below the smallest, what that takes. The curve is not empty.
  absl::Duration TimeOf(int rows) const;
  // The shortest evaluation recorded, of any number of rows; infinite where none is.
  absl::Duration Shortest() const;

  // The smallest measured number of rows that reaches `efficiency` (0 to 1) of the best throughput
  // measured, in rows a second: more rows would only make each evaluation longer. `rows_max` where
  // too little is known: of the numbers of rows that are known, the largest is the first to reach
  // it.
  int Knee(double efficiency, int rows_max) const;

  // What is known, ascending.
  std::vector<Point> Points() const;

 private:
  std::map<int, MeasuredTime> times_;
};

class CostModel {
 public:
  struct Costs {
    EvaluationCurve evaluation;
    MeasuredTime encoding;    // of an image's prompts and pictures
    MeasuredTime decoding;    // of an image
    int64_t evaluations = 0;  // recorded
    // Rows that evaluations should have at most, by the knee of the curve, and that memory has held.
    int knee = std::numeric_limits<int>::max();
    int rows_max = std::numeric_limits<int>::max();
    int64_t limited_at = 0;  // after so many evaluations
  };

  // The costs of `network` with x of this size, to add to. Forgets networks that are gone, and
  // another size where there are too many: callers choose them.
  Costs& Of(const std::shared_ptr<const void>& network, int64_t height, int64_t width);
  // Null where nothing has been measured.
  const Costs* Find(const std::shared_ptr<const void>& network, int64_t height,
                    int64_t width) const;

 private:
  struct Entry {
    std::weak_ptr<const void> network;
    Costs costs;
  };

  std::map<BatchKey, Entry> entries_;
};

}  // namespace denoise
