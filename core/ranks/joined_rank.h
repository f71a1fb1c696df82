// How a rank other than the leader finds its group. See rendezvous.h.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/ranks/rank_group.h"

namespace denoise {

// Used by one thread, except where said.
//
// c10d waits for a leader's answer for as long as TCP does: for ever if its process is stopped, and
// a quarter of an hour if its machine has vanished. Hence threads of their own talk to it, which
// are left behind in such a case, four at most in a process. The process ends with _Exit: they may
// still run.
class JoinedRank {
 public:
  // Connects to the leader at "HOST:PORT". InvalidArgument: that is no address. Unavailable: nobody
  // answers there. FailedPrecondition: the leader is of another version. Cancelled: `stopped`. Does
  // not try while as many threads as may are left behind.
  static absl::StatusOr<std::unique_ptr<JoinedRank>> Join(const std::string& address,
                                                          const std::string& version,
                                                          const Stopped& stopped);
  ~JoinedRank();

  // The next group with a place for this rank. OutOfRange: a job has been finished since the last
  // call, or since this rank joined. Unavailable: the leader has gone, or does not answer; join
  // again. Cancelled: `stopped`; not to be called again.
  absl::StatusOr<std::unique_ptr<RankGroup>> NextGroup(const Stopped& stopped);

  // Whether the leader has answered within the last ten seconds. Thread-safe; does not wait.
  bool LeaderAnswers() const;

 private:
  class Membership;
  explicit JoinedRank(std::shared_ptr<Membership> membership);

  const std::shared_ptr<Membership> membership_;  // also of the threads that talk to the leader
};

}  // namespace denoise
