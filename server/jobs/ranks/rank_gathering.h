// The ranks of a training job, while they gather.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "core/base/mutex.h"
#include "core/ranks/rank_group.h"
#include "core/ranks/rendezvous.h"
#include "server/jobs/ranks/run_document.h"

namespace denoise {

class RankGathering;

// Where the ranks of all jobs gather, each on a thread of its own, so that neither the device nor
// the control of jobs waits. Thread-safe. Outlives its gatherings.
class RankGatherings {
 public:
  // `on_lost_round` gets the reason of each round that a rank has joined and then failed.
  RankGatherings(std::unique_ptr<Rendezvous> rendezvous, const Rendezvous::Wanted& wanted,
                 std::function<void(const absl::Status&)> on_lost_round);
  ~RankGatherings();  // waits for gatherings that have been given up

  // What a job with batches of `batch_size` rows waits for while its ranks gather, for people to
  // read: "waits for 3 other ranks: ...". Empty: it is the only rank.
  std::string AwaitedBy(int batch_size) const;

  // Gathers ranks for a batch of `batch_size` rows, of which each rank takes at least one, tells
  // them what to train and waits until they are ready for the first step. `done` is called on the
  // gathering's thread once there is a result.
  std::unique_ptr<RankGathering> Start(int batch_size, RunDocument run, std::function<void()> done);

  // Tells the ranks that wait for a group that a training job is finished.
  void AnnounceFinished() { rendezvous_->AnnounceFinished(); }

 private:
  friend class RankGathering;
  class Work;

  // For a batch of so many rows, of which each rank takes at least one.
  Rendezvous::Wanted WantedFor(int batch_size) const;
  absl::StatusOr<std::shared_ptr<RankGroup>> Run(Work& work, const Rendezvous::Wanted& wanted,
                                                 const RunDocument& run);
  void GiveUp(std::thread thread, std::shared_ptr<Work> work) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::unique_ptr<Rendezvous> rendezvous_;
  const Rendezvous::Wanted wanted_;
  const std::function<void(const absl::Status&)> on_lost_round_;

  struct GivenUp {
    std::thread thread;
    std::shared_ptr<Work> work;
  };
  Mutex mutex_;
  std::list<GivenUp> given_up_ ABSL_GUARDED_BY(mutex_);  // that may still wait for a rank
};

// Used by one thread.
class RankGathering {
 public:
  ~RankGathering();  // gives up, without waiting; a group that was not taken ends

  // Nullopt: not yet. Otherwise the group or the error of Rendezvous::Gather or SendRun, once.
  std::optional<absl::StatusOr<std::shared_ptr<RankGroup>>> Take();

 private:
  friend class RankGatherings;
  RankGathering(RankGatherings* gatherings, std::shared_ptr<RankGatherings::Work> work,
                std::thread thread);

  RankGatherings* const gatherings_;
  const std::shared_ptr<RankGatherings::Work> work_;
  std::thread thread_;
};

}  // namespace denoise
