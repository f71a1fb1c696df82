#include "server/jobs/ranks/rank_gathering.h"

#include <algorithm>
#include <atomic>
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

struct RankGatherings::Work {
  std::atomic<bool> given_up = false;
  std::atomic<bool> done = false;
  absl::StatusOr<std::shared_ptr<RankGroup>> result;  // once done

  // Null: none.
  void SetGroup(std::shared_ptr<RankGroup> gathered) ABSL_LOCKS_EXCLUDED(mutex) {
    const MutexLock lock(mutex);
    group = std::move(gathered);
    if (group && given_up) group->InterruptReceive();
  }
  void GiveUp() ABSL_LOCKS_EXCLUDED(mutex) {
    const MutexLock lock(mutex);
    given_up = true;
    if (group) group->InterruptReceive();
  }

  Mutex mutex;
  std::shared_ptr<RankGroup> group ABSL_GUARDED_BY(mutex);  // that is told what to train
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
    Run(*work, wanted, run);
    work->done = true;
    if (!work->given_up) done();
  });
  return std::unique_ptr<RankGathering>(new RankGathering(this, work, std::move(thread)));
}

void RankGatherings::Run(Work& work, const Rendezvous::Wanted& wanted, const RunDocument& run) {
  const Stopped stopped = [&work] { return work.given_up.load(); };
  auto group = rendezvous_->Gather(wanted, stopped, on_lost_round_);
  if (!group.ok()) {
    work.result = group.status();
    return;
  }
  std::shared_ptr<RankGroup> gathered = *std::move(group);
  work.SetGroup(gathered);
  const absl::Status sent = SendRun(run, *gathered, stopped);
  work.SetGroup(nullptr);
  if (sent.ok()) {
    work.result = std::move(gathered);
  } else {
    work.result = sent;
  }
}

void RankGatherings::GiveUp(std::thread thread, std::shared_ptr<Work> work) {
  const MutexLock lock(mutex_);
  for (auto each = given_up_.begin(); each != given_up_.end();) {
    if (!each->work->done) {
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
  if (!work_->done) return std::nullopt;
  return std::move(work_->result);
}

}  // namespace denoise
