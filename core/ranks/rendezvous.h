// How the ranks of a run find one another: the leader listens, and the others join it
// (joined_rank.h).
//
// The leader opens one round after another, each for one group. A rank that has joined takes part
// in the first round that has a place for it, and in the next one when that group has ended. Nobody
// keeps a place without being there: a round is open only while its leader gathers.
//
// It all goes through c10d's TCPStore, whose connections are neither encrypted nor authenticated.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/ranks/rank_group.h"

namespace c10d {
class Store;
}  // namespace c10d

namespace denoise {

// Thread-safe; one group is gathered at a time.
class Rendezvous {
 public:
  // Listens on `address`, "HOST:PORT" or "[HOST]:PORT", where port 0 takes a free one; 0.0.0.0 and
  // [::] listen on all addresses of this machine. Ranks of another `version` are refused.
  // InvalidArgument, Unavailable.
  static absl::StatusOr<std::unique_ptr<Rendezvous>> Listen(const std::string& address,
                                                            const std::string& version);
  ~Rendezvous();

  int port() const { return port_; }

  struct Wanted {
    int ranks = 1;     // with the leader
    int at_least = 1;  // train with so many once `wait` is over
    absl::Duration wait = absl::Minutes(1);
    absl::Duration timeout = absl::Minutes(1);  // the group's, on all ranks
  };
  // The group of the ranks that have joined, as soon as they are enough. A rank that joins and is
  // then lost costs another round, whose reason `on_lost_round`, which may be empty, gets; in that
  // one the others get only what they need to come back. Cancelled: `stopped`.
  absl::StatusOr<std::unique_ptr<RankGroup>> Gather(
      const Wanted& wanted, const Stopped& stopped,
      const std::function<void(const absl::Status&)>& on_lost_round = {});

  // Tells the ranks that wait for a group that a job is finished, without them.
  void AnnounceFinished();

 private:
  Rendezvous(c10::intrusive_ptr<c10d::Store> store, std::string host, int port);

  absl::StatusOr<int> WaitForMembers(int64_t round, const Wanted& wanted, absl::Time deadline,
                                     const Stopped& stopped);
  std::string AddressForGroup(int64_t round) const;
  absl::StatusOr<std::unique_ptr<RankGroup>> GatherOnce(int64_t round, const Wanted& wanted,
                                                        absl::Time deadline,
                                                        const Stopped& stopped);

  const std::string host_;  // that it listens on; empty: all
  const int port_;
  std::atomic<bool> gathering_ = false;  // by the thread that uses all below
  const c10::intrusive_ptr<c10d::Store> store_;
  int64_t round_ = 0;
};

}  // namespace denoise
