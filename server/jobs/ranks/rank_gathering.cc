#include "server/jobs/ranks/rank_gathering.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

// All but the leader.
std::string Others(int ranks) {
  return absl::StrCat(ranks - 1, ranks == 2 ? " other rank" : " other ranks");
}

}  // namespace

// Shared by the thread of a gathering and the one that waits for its result.
class RankGatherings::Work {
 public:
  using Result = absl::StatusOr<std::shared_ptr<RankGroup>>;

  // The group is told what to train; GiveUp interrupts that. Null: none.
  void SetGroup(std::shared_ptr<RankGroup> group) ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    group_ = std::move(group);
    if (group_ && given_up_) group_->InterruptReceive();
  }
  // False: nobody waits for it any more, and the group's other ranks notice that it has ended.
  bool Finish(Result result) ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    done_ = true;
    if (!given_up_) result_ = std::move(result);
    return !given_up_;
  }
  std::optional<Result> Take() ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    return std::exchange(result_, std::nullopt);
  }
  void GiveUp() ABSL_LOCKS_EXCLUDED(mutex_) {
    std::optional<Result> unused;  // outlives the lock
    const MutexLock lock(mutex_);
    given_up_ = true;
    unused = std::exchange(result_, std::nullopt);
    if (group_) group_->InterruptReceive();
  }
  bool given_up() const ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    return given_up_;
  }
  bool done() const ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    return done_;
  }

 private:
  mutable Mutex mutex_;
  bool given_up_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<RankGroup> group_ ABSL_GUARDED_BY(mutex_);
  std::optional<Result> result_ ABSL_GUARDED_BY(mutex_);
};

RankGatherings::RankGatherings(std::unique_ptr<Rendezvous> rendezvous,
                               const Rendezvous::Wanted& wanted,
                               std::function<void(const absl::Status&)> on_lost_round)
    : rendezvous_(std::move(rendezvous)),
      wanted_(wanted),
      on_lost_round_(std::move(on_lost_round)) {}

RankGatherings::~RankGatherings() {
  const MutexLock lock(mutex_);
  for (GivenUp& each : given_up_) each.thread.join();
}

Rendezvous::Wanted RankGatherings::WantedFor(int batch_size) const {
  Rendezvous::Wanted wanted = wanted_;
  wanted.ranks = std::min(wanted.ranks, batch_size);
  wanted.at_least = std::min(wanted.at_least, wanted.ranks);
  return wanted;
}

std::string RankGatherings::AwaitedBy(int batch_size) const {
  const Rendezvous::Wanted wanted = WantedFor(batch_size);
  if (wanted.ranks == 1) return "";
  const std::string others = Others(wanted.ranks);
  std::string text = absl::StrCat("waits for ", others, "; `denoised rank` starts one");
  if (wanted.at_least == wanted.ranks) return text;
  return absl::StrCat(text, ". After ", absl::FormatDuration(wanted.wait), " it begins with ",
                      wanted.at_least == 1 ? "those that have joined"
                                           : absl::StrCat(Others(wanted.at_least), " or more"));
}

std::unique_ptr<RankGathering> RankGatherings::Start(int batch_size, RunDocument run,
                                                     std::function<void()> done) {
  const Rendezvous::Wanted wanted = WantedFor(batch_size);
  const auto work = std::make_shared<Work>();
  std::thread thread([this, work, wanted, run = std::move(run), done = std::move(done)] {
    if (work->Finish(Run(*work, wanted, run))) done();
  });
  return std::unique_ptr<RankGathering>(new RankGathering(this, work, std::move(thread)));
}

absl::StatusOr<std::shared_ptr<RankGroup>> RankGatherings::Run(Work& work,
                                                               const Rendezvous::Wanted& wanted,
                                                               const RunDocument& run) {
  const Stopped stopped = [&work] { return work.given_up(); };
  ASSIGN_OR_RETURN(std::shared_ptr<RankGroup> group,
                   rendezvous_->Gather(wanted, stopped, on_lost_round_));
  work.SetGroup(group);
  const absl::Status sent = SendRun(run, *group, stopped);
  work.SetGroup(nullptr);
  if (!sent.ok()) return sent;
  return group;
}

void RankGatherings::GiveUp(std::thread thread, std::shared_ptr<Work> work) {
  const MutexLock lock(mutex_);
  for (auto each = given_up_.begin(); each != given_up_.end();) {
    if (!each->work->done()) {
      ++each;
      continue;
    }
    each->thread.join();
    each = given_up_.erase(each);
  }
  given_up_.push_back({std::move(thread), std::move(work)});
}

RankGathering::RankGathering(RankGatherings* gatherings, std::shared_ptr<RankGatherings::Work> work,
                             std::thread thread)
    : gatherings_(gatherings), work_(std::move(work)), thread_(std::move(thread)) {}

RankGathering::~RankGathering() {
  work_->GiveUp();
  gatherings_->GiveUp(std::move(thread_), work_);
}

std::optional<absl::StatusOr<std::shared_ptr<RankGroup>>> RankGathering::Take() {
  return work_->Take();
}

}  // namespace denoise
