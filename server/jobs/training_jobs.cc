#include "server/jobs/training_jobs.h"

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_violations.h"
#include "core/base/paging.h"
#include "core/base/status_macros.h"
#include "core/train/checkpoint_folder.h"
#include "server/jobs/job_creator.h"
#include "server/jobs/job_recovery.h"
#include "server/jobs/model_publisher.h"
#include "server/jobs/runs/job_runner.h"
#include "server/jobs/store/id_folders.h"
#include "server/jobs/store/job_tables.h"
#include "server/jobs/store/resource_names.h"
#include "server/jobs/store/set_aside.h"

namespace denoise {

using denoised::v1::ListCheckpointsResponse;
using denoised::v1::ListTrainingJobsResponse;
using denoised::v1::TrainingEvent;
using denoised::v1::TrainingJob;

namespace {

// How many events a watcher reads at a time.
constexpr int kEventsPerRead = 64;

// The job as `viewer` sees it.
TrainingJob NamedFor(const Identity& viewer, TrainingJob job) {
  std::string* const data_set = job.has_training() ? job.mutable_training()->mutable_dataset()
                                                   : job.mutable_evaluation()->mutable_dataset();
  *data_set = NameFor(viewer, *data_set);
  return job;
}

struct Page {
  int size = 0;
  int64_t before = 0;  // the job or checkpoint that it continues before; 0 for the first page
};

template <class Request>
absl::StatusOr<Page> PageOf(std::string_view list, const Request& request) {
  const absl::StatusOr<int> size = PageSize(request.page_size());
  absl::StatusOr<std::string> token = ParsePageToken(list, request.page_token());
  int64_t before = 0;
  if (token.ok() && !token->empty() && (!absl::SimpleAtoi(*token, &before) || before <= 0)) {
    token = BadPageToken();
  }
  FieldViolations violations;
  violations.AddAll("", size.status());
  violations.AddAll("", token.status());
  RETURN_IF_ERROR(violations.ToStatus());
  return Page{*size, before};
}

// What a page token of the request is bound to: the jobs in the states that it asks for.
std::string JobsIn(const denoised::v1::ListTrainingJobsRequest& request) {
  const std::set<int> states(request.states().begin(), request.states().end());
  return absl::StrCat("trainingJobs in ", absl::StrJoin(states, ","));
}

}  // namespace

class TrainingJobs::Impl {
 public:
  Impl(const Environment& environment, const TrainingJobsOptions& options)
      : environment_(environment),
        store_(environment.database, &feed_, environment.clock, environment.observer),
        creator_({.state = environment.state,
                  .clock = environment.clock,
                  .store = &store_,
                  .data_sets = environment.data_sets,
                  .engine = environment.engine,
                  .models = environment.models,
                  .live_models = environment.live_models,
                  .max_waiting_jobs = options.max_waiting_jobs,
                  .max_sampler_steps = options.max_sampler_steps,
                  .max_micro_batch_pixels = options.max_micro_batch_pixels,
                  .has_inception = !options.inception.empty()}),
        publisher_({.state = environment.state,
                    .store = &store_,
                    .models = environment.models,
                    .live_models = environment.live_models,
                    .observer = environment.observer}) {}

  void Run(const TrainingJobsOptions& options) {
    runner_ = std::make_unique<JobRunner>(
        RunEnvironment{.state = environment_.state,
                       .store = &store_,
                       .data_sets = environment_.data_sets,
                       .engine = environment_.engine,
                       .clock = environment_.clock,
                       .observer = environment_.observer,
                       .inception = options.inception,
                       .ranks = options.ranks},
        JobRunner::Options{.max_running_jobs = options.max_running_jobs});
  }

  // A job that the caller sees.
  absl::StatusOr<int64_t> Find(std::string_view field, const std::string& name,
                               const Identity& caller) const {
    const auto id = ParseJobName(name);
    if (!id) return InvalidField(field, "must be \"trainingJobs/\" and a job's name");
    RETURN_IF_ERROR(CheckSeen(*id, caller));
    return *id;
  }

  absl::Status CheckSeen(int64_t id, const Identity& caller) const {
    ASSIGN_OR_RETURN(const std::string tenant, store_.TenantOf(id));
    return caller.Sees(tenant) ? absl::OkStatus() : JobNotFound(id);
  }

  absl::StatusOr<TrainingJob> Get(int64_t id, const Identity& viewer) const {
    ASSIGN_OR_RETURN(TrainingJob job, store_.Get(id));
    return NamedFor(viewer, std::move(job));
  }

  // Writes what a caller wants of a job, then notifies the runner.
  absl::StatusOr<TrainingJob> Apply(const std::string& name, const Identity& caller,
                                    JobAction action) {
    ASSIGN_OR_RETURN(const int64_t id, Find("name", name, caller));
    RETURN_IF_ERROR(store_.Apply(id, action).status());
    runner_->Notify();
    return Get(id, caller);
  }

  const Environment environment_;
  EventFeed feed_;
  JobStore store_;
  JobCreator creator_;
  ModelPublisher publisher_;
  std::unique_ptr<JobRunner> runner_;
};

absl::StatusOr<std::unique_ptr<TrainingJobs>> TrainingJobs::Start(
    const Environment& environment, const TrainingJobsOptions& options) {
  auto impl = std::make_unique<Impl>(environment, options);
  SetAside set_aside(environment.state, environment.clock, environment.observer);
  RETURN_IF_ERROR(RecoverJobs(impl->store_, *environment.state, set_aside));
  impl->Run(options);
  return std::unique_ptr<TrainingJobs>(new TrainingJobs(std::move(impl)));
}

TrainingJobs::TrainingJobs(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TrainingJobs::~TrainingJobs() { Stop(absl::InfinitePast()); }

absl::StatusOr<TrainingJob> TrainingJobs::Create(
    const denoised::v1::CreateTrainingJobRequest& request, const Identity& caller) {
  ASSIGN_OR_RETURN(TrainingJob job, impl_->creator_.Create(request, caller));
  impl_->runner_->Notify();
  return NamedFor(caller, std::move(job));
}

absl::StatusOr<TrainingJob> TrainingJobs::Get(const denoised::v1::GetTrainingJobRequest& request,
                                              const Identity& caller) {
  ASSIGN_OR_RETURN(const int64_t id, impl_->Find("name", request.name(), caller));
  return impl_->Get(id, caller);
}

absl::StatusOr<ListTrainingJobsResponse> TrainingJobs::List(
    const denoised::v1::ListTrainingJobsRequest& request, const Identity& caller) {
  const std::string list = JobsIn(request);
  ASSIGN_OR_RETURN(const Page page, PageOf(list, request));
  std::vector<JobState> states;
  for (const int state : request.states()) {
    if (!TrainingJob::State_IsValid(state) || state == TrainingJob::STATE_UNSPECIFIED) {
      return InvalidField("states", "must be states of jobs");
    }
    states.push_back(static_cast<JobState>(state));
  }
  ASSIGN_OR_RETURN(JobStore::Page found,
                   impl_->store_.List(caller, states, page.before, page.size));
  ListTrainingJobsResponse response;
  for (TrainingJob& job : found.jobs) *response.add_jobs() = NamedFor(caller, std::move(job));
  if (found.more) {
    const std::string& last = response.jobs().rbegin()->name();
    response.set_next_page_token(PageTokenAfter(list, std::to_string(*ParseJobName(last))));
  }
  return response;
}

absl::StatusOr<TrainingJob> TrainingJobs::Cancel(
    const denoised::v1::CancelTrainingJobRequest& request, const Identity& caller) {
  return impl_->Apply(request.name(), caller, JobAction::kCancel);
}

absl::StatusOr<TrainingJob> TrainingJobs::Pause(
    const denoised::v1::PauseTrainingJobRequest& request, const Identity& caller) {
  return impl_->Apply(request.name(), caller, JobAction::kPause);
}

absl::StatusOr<TrainingJob> TrainingJobs::Resume(
    const denoised::v1::ResumeTrainingJobRequest& request, const Identity& caller) {
  return impl_->Apply(request.name(), caller, JobAction::kResume);
}

absl::Status TrainingJobs::Delete(const denoised::v1::DeleteTrainingJobRequest& request,
                                  const Identity& caller) {
  ASSIGN_OR_RETURN(const int64_t id, impl_->Find("name", request.name(), caller));
  ASSIGN_OR_RETURN(const JobStatus status, impl_->store_.Status(id));
  if (!IsOver(status.state)) return impl_->store_.Delete(id);  // says why not
  // Files first: the disk may be full. Once the folder is marked, the job is deleted, whatever
  // happens to the server.
  const std::filesystem::path folder = impl_->environment_.state->jobs();
  RETURN_IF_ERROR(MarkRemoved(folder, id));
  RETURN_IF_ERROR(EmptyRemoved(folder, id));
  RETURN_IF_ERROR(impl_->store_.Delete(id));
  return ForgetRemoved(folder, id);
}

absl::StatusOr<ListCheckpointsResponse> TrainingJobs::ListCheckpoints(
    const denoised::v1::ListCheckpointsRequest& request, const Identity& caller) {
  ASSIGN_OR_RETURN(const int64_t id, impl_->Find("parent", request.parent(), caller));
  const std::string list = absl::StrCat("checkpoints of ", id);
  ASSIGN_OR_RETURN(const Page page, PageOf(list, request));
  const auto folder = CheckpointFolder::ForReading(impl_->environment_.state->checkpoints(id));
  ASSIGN_OR_RETURN(const std::vector<CheckpointFolder::Entry> entries, folder.List());
  ListCheckpointsResponse response;
  for (const CheckpointFolder::Entry& entry : entries) {
    if (page.before > 0 && entry.step >= page.before) continue;
    if (response.checkpoints_size() == page.size) {
      response.set_next_page_token(
          PageTokenAfter(list, std::to_string(response.checkpoints().rbegin()->step())));
      break;
    }
    ASSIGN_OR_RETURN(auto event,
                     impl_->store_.FindEvent(id, TrainingEvent::kCheckpoint, entry.step));
    // Without an event it was written just now, and is not announced yet.
    if (event) *response.add_checkpoints() = std::move(*event->mutable_checkpoint());
  }
  return response;
}

absl::StatusOr<ModelHandle> TrainingJobs::Publish(const denoised::v1::PublishModelRequest& request,
                                                  const Identity& caller,
                                                  const LiveModels::IsCancelled& is_cancelled) {
  const auto checkpoint = ParseCheckpointName(request.source());
  const auto job = checkpoint ? std::optional(checkpoint->job) : ParseJobName(request.source());
  if (job) RETURN_IF_ERROR(impl_->CheckSeen(*job, caller));
  return impl_->publisher_.Publish(request, is_cancelled);
}

absl::StatusOr<std::unique_ptr<TrainingJobs::Watcher>> TrainingJobs::Watch(
    const denoised::v1::WatchTrainingJobRequest& request, const Identity& caller,
    std::function<void()> wake) {
  ASSIGN_OR_RETURN(const int64_t id, impl_->Find("name", request.name(), caller));
  if (request.resume_after() < 0) {
    return InvalidField("resume_after",
                        absl::StrCat("must be at least 0, is ", request.resume_after()));
  }
  std::unique_ptr<Watcher> watcher(new Watcher(&impl_->store_, id, request.resume_after()));
  watcher->subscription_ = impl_->feed_.Subscribe(id, std::move(wake));
  return watcher;
}

absl::StatusOr<std::optional<TrainingEvent>> TrainingJobs::Watcher::Next() {
  if (read_.empty() && !over_) {
    ASSIGN_OR_RETURN(JobStore::Events events, store_->EventsAfter(job_, last_, kEventsPerRead));
    over_ = events.over;
    for (TrainingEvent& event : events.events) read_.push_back(std::move(event));
  }
  if (read_.empty()) return std::nullopt;
  TrainingEvent event = std::move(read_.front());
  read_.pop_front();
  last_ = event.sequence();
  return event;
}

void TrainingJobs::Stop(absl::Time deadline) {
  impl_->runner_->Stop(deadline);
  impl_->feed_.NotifyAll();
}

}  // namespace denoise
