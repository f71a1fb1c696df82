// Makes pictures ahead of their consumer.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/mutex.h"
#include "core/image/image.h"

namespace denoise {

// A bounded queue of pictures by position, filled by its own threads and consumed in order by one
// other thread.
class PicturePrefetcher {
 public:
  // Called by several threads at once. Must not throw. The same position always gives the same
  // picture.
  using Make = std::function<absl::StatusOr<Image>(int64_t position)>;

  // At most `capacity` finished pictures wait, at least 1; besides, each thread may be making one.
  PicturePrefetcher(Make make, int threads, int64_t capacity);
  ~PicturePrefetcher();  // waits for pictures being made

  // Returns the picture of `position`, blocking until it is made, and lets the threads make the
  // ones after it. Any position other than the next restarts the queue there. An error is returned
  // once and also restarts the queue: the next Take makes that position again.
  absl::StatusOr<Image> Take(int64_t position);

 private:
  struct Claim {
    int64_t position;
    int64_t run;
  };

  void Work();
  std::optional<Claim> NextClaim();  // nullopt when it is time to end
  void Deliver(const Claim& claim, absl::StatusOr<Image> picture);
  void StartAt(int64_t position) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Make make_;
  const int64_t capacity_;

  Mutex mutex_;
  CondVar room_;       // there is something to make, or nothing ever again
  CondVar delivered_;  // a picture is ready
  std::map<int64_t, absl::StatusOr<Image>> ready_ ABSL_GUARDED_BY(mutex_);
  int64_t next_take_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t next_claim_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t end_ ABSL_GUARDED_BY(mutex_) = 0;  // claims are made up to here
  int64_t run_ ABSL_GUARDED_BY(mutex_) =
      0;  // starts so far: what was claimed before the last is stale
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::vector<std::thread> threads_;  // last: they use all of the above
};

}  // namespace denoise
