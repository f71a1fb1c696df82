#include "server/jobs/ranks/rank_gathering.h"

#include <utility>

#include "core/base/status_macros.h"

namespace denoise {

RankGathering::RankGathering(Rendezvous* rendezvous, const Rendezvous::Wanted& wanted,
                             RunDocument run, std::function<void()> done)
    : rendezvous_(rendezvous),
      wanted_(wanted),
      thread_([this, run = std::move(run), done = std::move(done)] {
        result_ = Gather(run);
        done_ = true;
        done();
      }) {}

RankGathering::~RankGathering() {
  stopped_ = true;
  thread_.join();
}

absl::StatusOr<std::shared_ptr<RankGroup>> RankGathering::Gather(const RunDocument& run) {
  ASSIGN_OR_RETURN(std::shared_ptr<RankGroup> group,
                   rendezvous_->Gather(wanted_, [this] { return stopped_.load(); }));
  RETURN_IF_ERROR(SendRun(run, *group));
  return group;
}

std::optional<absl::StatusOr<std::shared_ptr<RankGroup>>> RankGathering::Take() {
  if (!done_) return std::nullopt;
  return std::move(result_);
}

}  // namespace denoise
