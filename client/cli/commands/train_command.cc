#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/watch_job.h"
#include "client/cli/display/model_text.h"
#include "client/cli/display/resource_text.h"
#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/message_flags.h"
#include "client/cli/flags/training_flags.h"
#include "client/client.h"
#include "client/training_client.h"

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

struct JobFlags {
  ConnectionFlags connection;
  std::string job;
  bool json = false;
};

struct CreateFlags {
  ConnectionFlags connection;
  v1::CreateTrainingJobRequest request;
  WatchOptions watch;
  bool watches = false;
};

void AddJobFlags(CLI::App& app, JobFlags& flags) {
  app.add_option("job", flags.job, "The job, as `denoise train list` prints it")
      ->type_name("JOB")
      ->required();
  app.add_flag("--json", flags.json, "Print JSON and nothing else");
  AddConnectionFlags(app, flags.connection);
}

void Print(const std::string& text) { std::puts(text.c_str()); }

void PrintJob(const v1::TrainingJob& job, bool json) {
  Print(json ? ResourceJson(job) : JobDetails(job));
}

ExitCode RunCreate(CreateFlags& flags) {
  Interrupts interrupts;
  const bool json = flags.watch.json;
  v1::CreateTrainingJobRequest& request = flags.request;
  v1::TrainingSettings& settings = *request.mutable_training();
  settings.set_dataset(DatasetResourceName(settings.dataset()));
  if (settings.has_base_model()) {
    settings.set_base_model(ModelResourceName(settings.base_model()));
  }
  settings.mutable_samples()->mutable_sampler();
  absl::StatusOr<TrainingClient> client = MakeTrainingClient(flags.connection);
  if (!client.ok()) return ReportError(client.status(), json);
  const absl::StatusOr<v1::TrainingJob> job = client->CreateJob(request);
  if (!job.ok()) return ReportError(job.status(), json, TrainingFlags());
  if (!flags.watches || json) PrintJob(*job, json);
  if (!flags.watches) return kExitOk;
  const absl::Status watched = WatchJob(*client, *job, flags.watch, interrupts);
  return ReportEnd(*client, job->name(), watched, flags.watch, interrupts);
}

void AddWatchFlags(CLI::App& app, WatchOptions& watch) {
  app.add_option("-o,--out", watch.out,
                 "Write sample grids, evaluation sheets and the loss to this folder")
      ->type_name("DIR");
  app.add_flag("--no-picture", watch.no_picture, "Show no pictures in the terminal");
  app.add_flag("--json", watch.json, "Print one line of JSON per event and nothing else");
}

Command AddCreate(CLI::App& app) {
  const auto flags = std::make_shared<CreateFlags>();
  AddMessageFlags(app, flags->request, TrainingFlags());
  app.add_flag("-w,--watch", flags->watches, "Watch the job until it ends");
  AddWatchFlags(app, flags->watch);
  AddConnectionFlags(app, flags->connection);
  SetExamples(app, kCreateExamples);
  return [flags] { return RunCreate(*flags); };
}

Command AddWatch(CLI::App& app) {
  struct Flags {
    ConnectionFlags connection;
    std::string job;
    WatchOptions watch;
  };
  const auto flags = std::make_shared<Flags>();
  app.add_option("job", flags->job, "The job, as `denoise train list` prints it")
      ->type_name("JOB")
      ->required();
  app.add_option("--resume-after", flags->watch.resume_after,
                 "Only events with a higher sequence number")
      ->check(CLI::Validator(CLI::NonNegativeNumber).description(""))
      ->type_name("N");
  AddWatchFlags(app, flags->watch);
  AddConnectionFlags(app, flags->connection);
  return [flags] {
    Interrupts interrupts;
    absl::StatusOr<TrainingClient> client = MakeTrainingClient(flags->connection);
    if (!client.ok()) return ReportError(client.status(), flags->watch.json);
    const absl::StatusOr<v1::TrainingJob> job = client->GetJob(flags->job);
    if (!job.ok()) return ReportError(job.status(), flags->watch.json);
    const absl::Status watched = WatchJob(*client, *job, flags->watch, interrupts);
    return ReportEnd(*client, job->name(), watched, flags->watch, interrupts);
  };
}

// The names of TrainingJob.State in small letters.
std::map<std::string, v1::TrainingJob::State> StatesByName() {
  std::map<std::string, v1::TrainingJob::State> states;
  const auto* type = v1::TrainingJob::State_descriptor();
  for (int i = 1; i < type->value_count(); ++i) {
    states[EnumFlagName(*type->value(i))] =
        static_cast<v1::TrainingJob::State>(type->value(i)->number());
  }
  return states;
}

Command AddList(CLI::App& app) {
  struct Flags {
    ConnectionFlags connection;
    std::vector<v1::TrainingJob::State> states;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  app.add_option("--state", flags->states, "Only jobs in these states, separated by commas")
      ->delimiter(',')
      ->transform(CLI::CheckedTransformer(StatesByName()).description(""))
      ->type_name("STATE,STATE,...");
  app.add_flag("--json", flags->json, "Print one line of JSON per job and nothing else");
  AddConnectionFlags(app, flags->connection);
  return [flags] {
    absl::StatusOr<TrainingClient> client = MakeTrainingClient(flags->connection);
    if (!client.ok()) return ReportError(client.status(), flags->json);
    const auto jobs = client->ListJobs(flags->states);
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

template <JobCall kCall>
Command AddJobCall(CLI::App& app) {
  const auto flags = std::make_shared<JobFlags>();
  AddJobFlags(app, *flags);
  return [flags] {
    absl::StatusOr<TrainingClient> client = MakeTrainingClient(flags->connection);
    if (!client.ok()) return ReportError(client.status(), flags->json);
    const absl::StatusOr<v1::TrainingJob> job = ((*client).*kCall)(flags->job);
    if (!job.ok()) return ReportError(job.status(), flags->json);
    PrintJob(*job, flags->json);
    return kExitOk;
  };
}

Command AddCheckpoints(CLI::App& app) {
  const auto flags = std::make_shared<JobFlags>();
  AddJobFlags(app, *flags);
  return [flags] {
    absl::StatusOr<TrainingClient> client = MakeTrainingClient(flags->connection);
    if (!client.ok()) return ReportError(client.status(), flags->json);
    const auto checkpoints = client->ListCheckpoints(flags->job);
    if (!checkpoints.ok()) return ReportError(checkpoints.status(), flags->json);
    if (!flags->json) {
      Print(checkpoints->empty() ? "No checkpoints yet." : CheckpointTable(*checkpoints));
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
    const absl::Status status = client->DeleteJob(flags->job);
    return status.ok() ? kExitOk : ReportError(status, flags->json);
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
  app.add_option("--step", flags->step,
                 "The step of the checkpoint to publish. Default: the newest")
      ->check(CLI::Validator(CLI::PositiveNumber).description(""))
      ->type_name("N");
  return [flags] {
    absl::StatusOr<TrainingClient> client = MakeTrainingClient(flags->job.connection);
    if (!client.ok()) return ReportError(client.status(), flags->job.json);
    v1::PublishModelRequest& request = flags->request;
    request.set_model(ModelResourceName(request.model()));
    request.set_source(TrainingJobResourceName(flags->job.job));
    if (flags->step > 0) {
      request.set_source(absl::StrCat(request.source(), "/checkpoints/", flags->step));
    }
    const absl::StatusOr<v1::Model> model = client->Publish(request);
    if (!model.ok()) return ReportError(model.status(), flags->job.json, PublishFlags());
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
  commands.Add("get", "Describe a job", kGetExamples, AddJobCall<&TrainingClient::GetJob>);
  commands.Add("cancel", "End a job", "  denoise train cancel 1\n",
               AddJobCall<&TrainingClient::CancelJob>);
  commands.Add("pause", "Save a checkpoint and stop until the job is resumed",
               "  denoise train pause 1\n", AddJobCall<&TrainingClient::PauseJob>);
  commands.Add("resume", "Continue a paused job", "  denoise train resume 1\n",
               AddJobCall<&TrainingClient::ResumeJob>);
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
