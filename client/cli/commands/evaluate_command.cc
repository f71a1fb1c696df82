#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/watch_job.h"
#include "client/cli/display/resource_text.h"
#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/generate_flags.h"
#include "client/cli/flags/message_flags.h"
#include "client/cli/flags/model_lookup.h"
#include "client/cli/flags/training_flags.h"
#include "client/client.h"
#include "client/training_client.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr char kExamples[] = R"(  denoise evaluate --model emoji-32 --dataset emoji
  denoise evaluate -m emoji-32 -d emoji --samples 2000 --steps 20 --out results
  denoise evaluate -m emoji-32 -d emoji --samples 500 --bits-per-dim 64 --json

Generates images and compares them with the data set: how similar the two are
(Frechet distance), how many images look like the data (precision, density), how
much of the data they cover (recall, coverage; low values mean mode collapse),
and how many are copies of it. --out also writes the nearest pictures of the
data set.
)";

struct Flags {
  ConnectionFlags connection;
  v1::CreateTrainingJobRequest request;
  WatchOptions watch;
};

absl::StatusOr<v1::CreateTrainingJobRequest> BuildRequest(const Flags& flags,
                                                          const ClientOptions& options) {
  v1::CreateTrainingJobRequest request = flags.request;
  v1::EvaluationSettings& settings = *request.mutable_evaluation();
  Client client(options);
  ASSIGN_OR_RETURN(const v1::Model model, ResolveModel(client, settings.model()));
  settings.set_model(model.name());
  settings.set_dataset(DatasetResourceName(settings.dataset()));
  settings.mutable_sampler();
  return request;
}

ExitCode RunEvaluate(const Flags& flags) {
  Interrupts interrupts;
  const bool json = flags.watch.json;
  const absl::StatusOr<ClientOptions> options = MakeClientOptions(flags.connection);
  if (!options.ok()) return ReportError(options.status(), json);
  const absl::StatusOr<v1::CreateTrainingJobRequest> request = BuildRequest(flags, *options);
  if (!request.ok()) return ReportError(request.status(), json, EvaluationFlags());
  absl::StatusOr<std::optional<OutputFolder>> folder = OpenJobFolder(flags.watch);
  if (!folder.ok()) return ReportError(folder.status(), json);
  TrainingClient client(*options);
  const absl::StatusOr<v1::TrainingJob> job = client.CreateJob(*request);
  if (!job.ok()) {
    const absl::Status status =
        AboutNames(job.status(), {{.field = "evaluation.dataset",
                                   .kind = "data set",
                                   .text = flags.request.evaluation().dataset(),
                                   .list = "denoise datasets list"}});
    return ReportError(status, json, EvaluationFlags());
  }
  if (!json) AnnounceJob(*job);
  const absl::Status watched = WatchJob(client, *job, flags.watch, *std::move(folder), interrupts);
  return ReportEnd(client, job->name(), watched, flags.watch, interrupts);
}

}  // namespace

Command AddEvaluateCommand(CLI::App& app) {
  const auto flags = std::make_shared<Flags>();
  AddMessageFlags(app, flags->request, EvaluationFlags());
  app.add_option(
         "-o,--out", flags->watch.out,
         "Write a sheet of images beside the nearest pictures of the data set to this folder")
      ->type_name("DIR");
  AddOverwriteFlag(app, flags->watch.overwrite)->needs(app.get_option("--out"));
  app.add_flag("--no-picture", flags->watch.no_picture, "Show no pictures in the terminal");
  app.add_flag("--json", flags->watch.json, "Print one line of JSON per event and nothing else");
  AddConnectionFlags(app, flags->connection);
  SetExamples(app, kExamples);
  return [flags] { return RunEvaluate(*flags); };
}

}  // namespace denoise
