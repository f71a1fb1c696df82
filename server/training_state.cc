#include "server/training_state.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/jobs/datasets/ingest.h"
#include "server/jobs/store/set_aside.h"
#include "server/jobs/store/state_database.h"

namespace denoise {
namespace {

DataSetQuota QuotaOf(const ServerFlags& flags) {
  return {.data_sets = flags.max_datasets,
          .total_bytes = int64_t{flags.max_datasets_gib} << 30,
          .data_set_bytes = int64_t{flags.max_dataset_gib} << 30};
}

// Null: no job has other ranks.
absl::StatusOr<std::unique_ptr<RankGatherings>> ListenForRanks(const ServerFlags& flags,
                                                               JobObserver* observer) {
  if (flags.ranks == 1) return nullptr;
  auto listening = Rendezvous::Listen(flags.rank_listen, RankVersion());
  if (!listening.ok()) {
    return absl::Status(
        listening.status().code(),
        absl::StrCat("--rank-listen: ", std::string(listening.status().message()),
                     absl::IsUnavailable(listening.status()) ? ". Choose another address" : ""));
  }
  std::unique_ptr<Rendezvous> rendezvous = *std::move(listening);
  observer->OnRendezvous(rendezvous->port());
  const Rendezvous::Wanted wanted = {
      .ranks = flags.ranks,
      .at_least = flags.min_ranks > 0 ? flags.min_ranks : flags.ranks,
      .wait = absl::Seconds(flags.rank_wait_seconds),
      .timeout = absl::Seconds(flags.rank_timeout_seconds)};
  return std::make_unique<RankGatherings>(
      std::move(rendezvous), wanted, [observer](const absl::Status& reason) {
        observer->OnError("the ranks of a job could not connect to one another", reason);
      });
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrainingState>> TrainingState::Open(const ServerFlags& flags,
                                                                   const Environment& environment) {
  const Clock* const clock = environment.clock;
  ASSIGN_OR_RETURN(StateDir opened, StateDir::Open(flags.state));
  auto state = std::make_unique<StateDir>(std::move(opened));
  SetAside set_aside(state.get(), clock, environment.observer);
  ASSIGN_OR_RETURN(auto database, OpenStateDatabase(*state, set_aside));
  ASSIGN_OR_RETURN(auto data_sets, DataSetStore::Open(database.get(), state.get(), QuotaOf(flags),
                                                      IngestUploadsWith(flags.max_picture_pixels),
                                                      clock, environment.observer));
  ASSIGN_OR_RETURN(auto ranks, ListenForRanks(flags, environment.observer));
  const TrainingJobsOptions options = {.max_running_jobs = flags.max_running_jobs,
                                       .max_waiting_jobs = flags.max_waiting_jobs,
                                       .max_sampler_steps = flags.max_steps,
                                       .max_micro_batch_pixels = flags.max_micro_batch_pixels,
                                       .inception = flags.inception,
                                       .ranks = ranks.get()};
  ASSIGN_OR_RETURN(auto jobs, TrainingJobs::Start({.state = state.get(),
                                                   .database = database.get(),
                                                   .data_sets = data_sets.get(),
                                                   .engine = environment.engine,
                                                   .models = environment.models,
                                                   .live_models = environment.live_models,
                                                   .clock = clock,
                                                   .observer = environment.observer},
                                                  options));
  return std::unique_ptr<TrainingState>(new TrainingState(std::move(state), std::move(database),
                                                          std::move(ranks), std::move(data_sets),
                                                          std::move(jobs)));
}

TrainingState::TrainingState(std::unique_ptr<StateDir> state, std::unique_ptr<Database> database,
                             std::unique_ptr<RankGatherings> ranks,
                             std::unique_ptr<DataSetStore> data_sets,
                             std::unique_ptr<TrainingJobs> jobs)
    : state_(std::move(state)),
      database_(std::move(database)),
      ranks_(std::move(ranks)),
      data_sets_(std::move(data_sets)),
      jobs_(std::move(jobs)) {}

void TrainingState::Stop(absl::Time deadline) {
  jobs_->Stop(deadline);
  data_sets_->Stop();
}

}  // namespace denoise
