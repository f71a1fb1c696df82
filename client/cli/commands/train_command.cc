#include <CLI/App.hpp>
#include <algorithm>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/watch_job.h"
#include "client/cli/display/model_text.h"
#include "client/cli/display/resource_text.h"
#include "client/cli/display/text.h"
#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/generate_flags.h"
#include "client/cli/flags/message_flags.h"
#include "client/cli/flags/training_flags.h"
#include "client/client.h"
#include "client/training_client.h"
#include "core/base/field_violations.h"
#include "core/command_line/flag_values.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr char kExamples[] =
    R"(  denoise train create -d emoji --height 32 --width 32 --max-steps 20000 --watch
  denoise train create -d emoji --base-model emoji-32 --max-steps 2000
  denoise train watch 1
  denoise train list --state running,queued
  denoise train publish 1 --model emoji-32

`denoise train COMMAND --help` has more of them.
)";
constexpr char kCreateExamples[] =
    R"(  denoise train create -d emoji --height 32 --width 32 --max-steps 20000 --watch
  denoise train create -d emoji --height 32 --width 32 -n 20000 \
      --horizontal-flip --decay cosine --warmup-steps 500 \
      --ema-decays 0.99,0.999 --label animals=yes
  denoise train create -d digits --height 28 --width 28 --channels 1 \
      --block-out-channels 32,64 --noise-schedule flow -n 5000
  denoise train create -d emoji -m emoji-32 -n 2000 --learning-rate 5e-5

The sampler flags apply to the sample grids.
)";
constexpr char kWatchExamples[] = R"(  denoise train watch 1
  denoise train watch 1 --out run
  denoise train watch 1 --json --resume-after 120
)";
constexpr char kListExamples[] = R"(  denoise train list
  denoise train list --state running,queued
  denoise train list --json | jq -r .name
)";
constexpr char kGetExamples[] = R"(  denoise train get 1
  denoise train get 1 --json | jq .progress
)";
constexpr char kCheckpointsExamples[] = R"(  denoise train checkpoints 1
)";
constexpr char kPublishExamples[] = R"(  denoise train publish 1 --model emoji-32
  denoise train publish 1 --model emoji-32 --step 5000 --ema-decay 0.99
  denoise train publish 1 --model small --precision float16
)";

// Of every call for one job, which has its name under one of these.
const FlagTable& JobNameTable() {
  static const auto* const table = new FlagTable{{"job",
                                                  "name",
                                                  "The job, as `denoise train list` prints it",
                                                  "Options",
                                                  {.value = "JOB", .required = true}}};
  return *table;
}

struct JobFlags {
  ConnectionFlags connection;
  v1::GetTrainingJobRequest request;
  bool json = false;

  const std::string& job() const { return request.name(); }
};

struct CreateFlags {
  ConnectionFlags connection;
  v1::CreateTrainingJobRequest request;
  WatchOptions watch;
  bool watches = false;
};

absl::Status AboutJob(const absl::Status& status, const std::string& job) {
  return AboutName(status,
                   {.field = "name", .kind = "job", .text = job, .list = "denoise train list"});
}

ExitCode ReportJobError(const absl::Status& status, const std::string& job, bool json) {
  return ReportError(AboutJob(status, job), json, JobNameTable());
}

void AddJobFlags(CLI::App& app, JobFlags& flags) {
  AddMessageFlags(app, flags.request, JobNameTable());
  app.add_flag("--json", flags.json, "Print JSON and nothing else");
  AddConnectionFlags(app, flags.connection);
}

void Print(const std::string& text) { std::puts(text.c_str()); }

void PrintJob(const v1::TrainingJob& job, bool json) {
  Print(json ? ResourceJson(job) : JobDetails(job));
}

// What the newest other job that trained the same network says of how long `job` takes.
std::string EstimateText(TrainingClient& client, const v1::TrainingJob& job) {
  const auto jobs = client.ListJobs();
  if (jobs.ok()) {
    for (const v1::TrainingJob& other : *jobs) {
      if (const std::string text = TrainingEstimate(job, other); !text.empty()) return text;
    }
  }
  return "known after the first steps; `denoise train watch` shows it";
}

absl::Status CheckBase(const v1::TrainingSettings& settings) {
  if (settings.base_case() != v1::TrainingSettings::BASE_NOT_SET) return absl::OkStatus();
  return InvalidField("training.base",
                      "is required: --base-model trains a served model further, --height and "
                      "--width start a new network");
}

// A request with an id may find its job, and the job's files.
absl::StatusOr<std::optional<OutputFolder>> OpenFolderOfNewJob(const CreateFlags& flags) {
  if (!flags.request.request_id().empty()) return std::nullopt;
  return OpenJobFolder(flags.watch);
}

ExitCode RunCreate(CreateFlags& flags) {
  Interrupts interrupts;
  const bool json = flags.watch.json;
  v1::CreateTrainingJobRequest& request = flags.request;
  v1::TrainingSettings& settings = *request.mutable_training();
  const absl::Status base = CheckBase(settings);
  if (!base.ok()) return ReportError(base, json, TrainingFlags());
  absl::StatusOr<std::optional<OutputFolder>> folder = OpenFolderOfNewJob(flags);
  if (!folder.ok()) return ReportError(folder.status(), json);
  const std::string dataset = settings.dataset(), model = settings.base_model();  // as typed
  settings.set_dataset(DatasetResourceName(settings.dataset()));
  if (settings.has_base_model()) {
    settings.set_base_model(ModelResourceName(settings.base_model()));
  }
  settings.mutable_samples()->mutable_sampler();
  absl::StatusOr<TrainingClient> client = MakeTrainingClient(flags.connection);
  if (!client.ok()) return ReportError(client.status(), json);
  const absl::StatusOr<v1::TrainingJob> job = client->CreateJob(request);
  if (!job.ok()) {
    const absl::Status status = AboutNames(job.status(), {{.field = "training.dataset",
                                                           .kind = "data set",
                                                           .text = dataset,
                                                           .list = "denoise datasets list"},
                                                          {.field = "training.base_model",
                                                           .kind = "model",
                                                           .text = model,
                                                           .list = "denoise models"}});
    return ReportError(status, json, TrainingFlags());
  }
  if (!flags.watches || json) PrintJob(*job, json);
  if (!flags.watches) {
    if (!json) Print(absl::StrCat("  estimate    ", EstimateText(*client, *job)));
    return kExitOk;
  }
  if (!request.request_id().empty()) folder = OpenJobFolder(flags.watch, &*job);
  if (!folder.ok()) return ReportError(folder.status(), json);
  if (!json) AnnounceJob(*job);
  const absl::Status watched = WatchJob(*client, *job, flags.watch, *std::move(folder), interrupts);
  return ReportEnd(*client, job->name(), watched, flags.watch, interrupts);
}

void AddWatchFlags(CLI::App& app, WatchOptions& watch) {
  app.add_option("-o,--out", watch.out,
                 "Write sample grids, evaluation sheets and the loss to this folder")
      ->type_name("DIR");
  AddOverwriteFlag(app, watch.overwrite)->needs(app.get_option("--out"));
  app.add_flag("--no-picture", watch.no_picture, "Show no pictures in the terminal");
  app.add_flag("--json", watch.json, "Print one line of JSON per event and nothing else");
}

Command AddCreate(CLI::App& app) {
  const auto flags = std::make_shared<CreateFlags>();
  AddMessageFlags(app, flags->request, TrainingFlags());
  app.add_flag("-w,--watch", flags->watches, "Watch the job until it ends");
  AddWatchFlags(app, flags->watch);
  for (const char* flag : {"--out", "--no-picture"}) {
    app.get_option(flag)->needs(app.get_option("--watch"));
  }
  RelateTrainingFlags(app);
  AddConnectionFlags(app, flags->connection);
  SetExamples(app, kCreateExamples);
  return [flags] { return RunCreate(*flags); };
}

Command AddWatch(CLI::App& app) {
  struct Flags {
    ConnectionFlags connection;
    v1::GetTrainingJobRequest request;
    WatchOptions watch;
  };
  const auto flags = std::make_shared<Flags>();
  AddMessageFlags(app, flags->request, JobNameTable());
  AddWholeNumber(app, "--resume-after", flags->watch.resume_after, int64_t{0},
                 std::numeric_limits<int64_t>::max(), "Only events with a higher sequence number");
  AddWatchFlags(app, flags->watch);
  AddConnectionFlags(app, flags->connection);
  return [flags] {
    Interrupts interrupts;
    absl::StatusOr<TrainingClient> client = MakeTrainingClient(flags->connection);
    if (!client.ok()) return ReportError(client.status(), flags->watch.json);
    const bool json = flags->watch.json;
    const std::string& name = flags->request.name();
    const absl::StatusOr<v1::TrainingJob> job = client->GetJob(name);
    if (!job.ok()) return ReportJobError(job.status(), name, json);
    absl::StatusOr<std::optional<OutputFolder>> folder = OpenJobFolder(flags->watch, &*job);
    if (!folder.ok()) return ReportError(folder.status(), json);
    const absl::Status watched =
        WatchJob(*client, *job, flags->watch, *std::move(folder), interrupts);
    return ReportEnd(*client, job->name(), watched, flags->watch, interrupts);
  };
}

const FlagTable& ListTable() {
  static const auto* const table = new FlagTable{
      {"--state",
       "states",
       "Only jobs in these states, separated by commas: queued, running, paused, cancelling, "
       "succeeded, failed, cancelled",
       "Options",
       {.value = "STATE,STATE,..."}}};
  return *table;
}

Command AddList(CLI::App& app) {
  struct Flags {
    ConnectionFlags connection;
    v1::ListTrainingJobsRequest request;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  AddMessageFlags(app, flags->request, ListTable());
  app.add_flag("--json", flags->json, "Print one line of JSON per job and nothing else");
  AddConnectionFlags(app, flags->connection);
  return [flags] {
    absl::StatusOr<TrainingClient> client = MakeTrainingClient(flags->connection);
    if (!client.ok()) return ReportError(client.status(), flags->json);
    std::vector<v1::TrainingJob::State> states;
    for (const int state : flags->request.states()) {
      states.push_back(static_cast<v1::TrainingJob::State>(state));
    }
    const auto jobs = client->ListJobs(states);
    if (!jobs.ok()) return ReportError(jobs.status(), flags->json);
    if (!flags->json) {
      Print(jobs->empty() ? "No such jobs. Start one with `denoise train create`."
                          : JobTable(*jobs));
      return kExitOk;
    }
    for (const v1::TrainingJob& job : *jobs) Print(ResourceJson(job));
    return kExitOk;
  };
}

// A command that makes one call for a job and prints the job as it is afterwards.
using JobCall = absl::StatusOr<v1::TrainingJob> (TrainingClient::*)(std::string_view name);

using JobText = std::string (*)(const v1::TrainingJob& job);

template <JobCall kCall, JobText kText>
Command AddJobCall(CLI::App& app) {
  const auto flags = std::make_shared<JobFlags>();
  AddJobFlags(app, *flags);
  return [flags] {
    absl::StatusOr<TrainingClient> client = MakeTrainingClient(flags->connection);
    if (!client.ok()) return ReportError(client.status(), flags->json);
    const absl::StatusOr<v1::TrainingJob> job = ((*client).*kCall)(flags->job());
    if (!job.ok()) return ReportJobError(job.status(), flags->job(), flags->json);
    Print(flags->json ? ResourceJson(*job) : kText(*job));
    return kExitOk;
  };
}

// When a job that has none saves its first checkpoint.
std::string NoCheckpointsText(TrainingClient& client, const std::string& name) {
  const absl::StatusOr<v1::TrainingJob> job = client.GetJob(name);
  if (!job.ok() || !job->has_training() || IsOver(*job)) return "No checkpoints.";
  const v1::TrainingSettings& settings = job->training();
  const int64_t first = std::min(settings.checkpoints().every_n_steps(), settings.max_steps());
  return absl::StrCat("No checkpoints yet. The first one comes after step ", first, "; ",
                      JobLine(*job), ".");
}

Command AddCheckpoints(CLI::App& app) {
  const auto flags = std::make_shared<JobFlags>();
  AddJobFlags(app, *flags);
  return [flags] {
    absl::StatusOr<TrainingClient> client = MakeTrainingClient(flags->connection);
    if (!client.ok()) return ReportError(client.status(), flags->json);
    const auto checkpoints = client->ListCheckpoints(flags->job());
    if (!checkpoints.ok()) {
      const absl::Status status = AboutName(
          checkpoints.status(),
          {.field = "parent", .kind = "job", .text = flags->job(), .list = "denoise train list"});
      return ReportError(status, flags->json, FlagTable{{"job", "parent", ""}});
    }
    if (!flags->json) {
      Print(checkpoints->empty() ? NoCheckpointsText(*client, flags->job())
                                 : CheckpointTable(*checkpoints));
      return kExitOk;
    }
    for (const v1::Checkpoint& checkpoint : *checkpoints) Print(ResourceJson(checkpoint));
    return kExitOk;
  };
}

Command AddDelete(CLI::App& app) {
  const auto flags = std::make_shared<JobFlags>();
  AddJobFlags(app, *flags);
  return [flags] {
    absl::StatusOr<TrainingClient> client = MakeTrainingClient(flags->connection);
    if (!client.ok()) return ReportError(client.status(), flags->json);
    const absl::Status status = client->DeleteJob(flags->job());
    if (!status.ok()) return ReportJobError(status, flags->job(), flags->json);
    if (!flags->json) Print(absl::StrCat("job ", Printable(flags->job()), " is deleted"));
    return kExitOk;
  };
}

Command AddPublish(CLI::App& app) {
  struct Flags {
    JobFlags job;
    v1::PublishModelRequest request;
    int64_t step = 0;
  };
  const auto flags = std::make_shared<Flags>();
  AddJobFlags(app, flags->job);
  AddMessageFlags(app, flags->request, PublishFlags());
  AddWholeNumber(app, "--step", flags->step, int64_t{1}, std::numeric_limits<int64_t>::max(),
                 "The step of the checkpoint to publish. Default: the newest");
  return [flags] {
    absl::StatusOr<TrainingClient> client = MakeTrainingClient(flags->job.connection);
    if (!client.ok()) return ReportError(client.status(), flags->job.json);
    v1::PublishModelRequest& request = flags->request;
    request.set_model(ModelResourceName(request.model()));
    const std::string& job = flags->job.job();
    request.set_source(TrainingJobResourceName(job));
    if (flags->step > 0) {
      request.set_source(absl::StrCat(request.source(), "/checkpoints/", flags->step));
    }
    const absl::StatusOr<v1::Model> model = client->Publish(request);
    if (!model.ok()) {
      const absl::Status status =
          AboutName(model.status(),
                    {.field = "source", .kind = "job", .text = job, .list = "denoise train list"});
      return ReportError(status, flags->job.json, Join({PublishFlags(), {{"job", "source", ""}}}));
    }
    Print(flags->job.json ? ModelJson(*model) : ModelDetails(*model));
    return kExitOk;
  };
}

}  // namespace

Command AddTrainCommand(CLI::App& app) {
  CommandSet commands(app);
  commands.Add("create", "Start a training job", AddCreate);
  commands.Add("watch", "Follow a job until it ends", kWatchExamples, AddWatch);
  commands.Add("list", "List all jobs, the latest first", kListExamples, AddList);
  commands.Add("get", "Describe a job", kGetExamples,
               AddJobCall<&TrainingClient::GetJob, JobDetails>);
  commands.Add("cancel", "End a job", "  denoise train cancel 1\n",
               AddJobCall<&TrainingClient::CancelJob, JobLine>);
  commands.Add("pause", "Save a checkpoint and stop until the job is resumed",
               "  denoise train pause 1\n", AddJobCall<&TrainingClient::PauseJob, PausingJobLine>);
  commands.Add("resume", "Continue a paused job", "  denoise train resume 1\n",
               AddJobCall<&TrainingClient::ResumeJob, JobLine>);
  commands.Add("delete", "Delete a job that has ended, with its checkpoints",
               "  denoise train delete 1\n", AddDelete);
  commands.Add("checkpoints", "List the checkpoints of a job, the newest first",
               kCheckpointsExamples, AddCheckpoints);
  commands.Add("publish", "Serve the model that a job has trained, without a restart",
               kPublishExamples, AddPublish);
  SetExamples(app, kExamples);
  return commands.Chosen();
}

}  // namespace denoise
