// Many generations of one image each, several at a time.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "client/cli/commands/sweep_grid.h"
#include "client/client.h"
#include "core/base/mutex.h"
#include "core/image/image.h"

namespace denoise {

// Runs the cells of a sweep, several at a time so that they share the batches of the server. The
// first failure cancels all others.
class SweepRunner {
 public:
  // `on_done` is called with the number of images so far, by one thread at a time. `client`
  // outlives this.
  SweepRunner(Client& client, std::vector<SweepCell> cells, std::function<void(size_t)> on_done);

  // The image of every cell, in their order; at most `parallel` (at least 1) are requested at a
  // time. The error is that of failed_cell(). Call it once.
  absl::StatusOr<std::vector<Image>> Run(int parallel);

  // Makes Run() return CANCELLED. Does not block. Thread-safe.
  void Cancel();

  // After Run(): the cell that failed; null if none did, or if all were cancelled.
  const SweepCell* failed_cell() const { return failed_cell_; }

 private:
  class Entry;  // a stream, while it can be cancelled

  void Work();
  std::optional<size_t> Take();
  absl::StatusOr<Image> MakePicture(const SweepCell& cell);
  void Finish(size_t index, absl::StatusOr<Image> picture);
  void Stop(const absl::Status& status, const SweepCell* cell)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Client& client_;
  const std::vector<SweepCell> cells_;
  const std::function<void(size_t)> on_done_;

  Mutex mutex_;
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t done_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<GenerateStream*> streams_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);  // the first failure
  std::vector<Image> pictures_ ABSL_GUARDED_BY(mutex_);
  const SweepCell* failed_cell_ = nullptr;  // written under mutex_, read after Run()
};

}  // namespace denoise
