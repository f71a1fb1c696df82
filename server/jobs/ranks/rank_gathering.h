// The ranks of a training job, while they gather.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "absl/status/statusor.h"
#include "core/ranks/rank_group.h"
#include "core/ranks/rendezvous.h"
#include "server/jobs/ranks/run_document.h"

namespace denoise {

// Gathers ranks on a thread of its own, and tells them what to train, so that neither the device nor
// the control of jobs waits. Used by one thread.
class RankGathering {
 public:
  // `rendezvous` outlives it. `done` is called on that thread once there is a result.
  RankGathering(Rendezvous* rendezvous, const Rendezvous::Wanted& wanted, RunDocument run,
                std::function<void()> done);
  ~RankGathering();  // gives up

  // Nullopt: not yet. Otherwise the group or the error of Rendezvous::Gather or SendRun, once.
  std::optional<absl::StatusOr<std::shared_ptr<RankGroup>>> Take();

 private:
  absl::StatusOr<std::shared_ptr<RankGroup>> Gather(const RunDocument& run);

  Rendezvous* const rendezvous_;
  const Rendezvous::Wanted wanted_;
  std::atomic<bool> stopped_ = false;
  std::atomic<bool> done_ = false;
  absl::StatusOr<std::shared_ptr<RankGroup>> result_;  // once done
  std::thread thread_;                                 // last: it uses all of the above
};

}  // namespace denoise
