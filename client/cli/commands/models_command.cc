#include <CLI/App.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/interrupts.h"
#include "client/cli/commands/watch_models.h"
#include "client/cli/display/model_text.h"
#include "client/cli/display/text.h"
#include "client/cli/flags/connection_flags.h"
#include "client/client.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr char kExamples[] = R"(  denoise models
  denoise models emoji-32
  denoise models --json | jq -r 'select(.state == "FAILED") | .error'
  denoise models watch
  denoise models load emoji-32 emoji-32@2

load, unload and delete need a server with --manage-models. A model whose name
is that of a command is described by its full name: models/load.
)";
constexpr char kLoadExamples[] = R"(  denoise models load emoji-32
  denoise models load emoji-32 emoji-32@2

Returns once the models are ready. Needs a server with --manage-models.
)";
constexpr char kUnloadExamples[] = R"(  denoise models unload emoji-32
  denoise models unload emoji-32 emoji-32@2

The next request for a model loads it again. Needs a server with
--manage-models.
)";
constexpr char kDeleteExamples[] = R"(  denoise models delete emoji-32@1
  denoise models delete emoji-32@1 emoji-32@2

Removes the folders of the models from the server's disk, for good. Needs a
server with --manage-models.
)";
constexpr char kWatchExamples[] = R"(  denoise models watch
  denoise models watch --json | jq -r 'select(.removed) | .removed'

Prints a line for every model, then one for every change until Ctrl-C. A watch
whose server goes away continues when it is back, for up to ten minutes.
)";

// Of `denoise models` and of the commands below it: a flag may come before or after the command.
struct ModelsFlags {
  ConnectionFlags connection;
  std::string name;
  std::vector<std::string> names;  // of the commands that take several
  bool json = false;
};
using SharedFlags = std::shared_ptr<ModelsFlags>;

void Print(const std::string& text) { std::puts(text.c_str()); }

// Whether another model may fare better.
bool IsAboutOneModel(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsInvalidArgument(status) ||
         absl::IsFailedPrecondition(status) || absl::IsResourceExhausted(status);
}

// `status` of a call for the model `name`, with that name in its message.
absl::Status AboutModel(const absl::Status& status, const std::string& name) {
  const absl::Status about =
      AboutName(status, {.field = "name", .kind = "model", .text = name, .list = "denoise models"});
  const bool is_named = absl::StrContains(about.message(), ShortModelName(name));
  if (!IsAboutOneModel(about) || absl::IsInvalidArgument(about) || is_named) return about;
  absl::Status named(about.code(), absl::StrCat("model ", name, ": ", about.message()));
  about.ForEachPayload([&named](absl::string_view url, const absl::Cord& payload) {
    named.SetPayload(url, payload);
  });
  return named;
}

ExitCode ShowOne(Client& client, const ModelsFlags& flags) {
  const auto model = client.GetModel(flags.name);
  if (!model.ok()) return ReportError(AboutModel(model.status(), flags.name), flags.json);
  Print(flags.json ? ModelJson(*model) : ModelDetails(*model));
  return kExitOk;
}

ExitCode ShowAll(Client& client, const ModelsFlags& flags) {
  const auto models = client.ListModels(/*show_failed=*/true);
  if (!models.ok()) return ReportError(models.status(), flags.json);
  if (flags.json) {
    for (const v1::Model& model : *models) Print(ModelJson(model));
  } else if (models->empty()) {
    Print("The server serves no model. Start it with a folder of models: `denoised --models DIR`.");
  } else {
    Print(ModelTable(*models));
  }
  return kExitOk;
}

ExitCode RunModels(const ModelsFlags& flags) {
  absl::StatusOr<Client> client = MakeClient(flags.connection);
  if (!client.ok()) return ReportError(client.status(), flags.json);
  return flags.name.empty() ? ShowAll(*client, flags) : ShowOne(*client, flags);
}

absl::Status Load(Client& client, const std::string& name, bool json) {
  ASSIGN_OR_RETURN(const v1::Model model, client.LoadModel(name));
  Print(json ? ModelJson(model) : ModelLine(model));
  return absl::OkStatus();
}

absl::Status Unload(Client& client, const std::string& name, bool json) {
  ASSIGN_OR_RETURN(const v1::Model model, client.UnloadModel(name));
  Print(json ? ModelJson(model) : ModelLine(model));
  return absl::OkStatus();
}

absl::Status Delete(Client& client, const std::string& name, bool json) {
  RETURN_IF_ERROR(client.DeleteModel(name));
  if (!json) Print(absl::StrCat("model ", Printable(ShortModelName(name)), " is deleted"));
  return absl::OkStatus();
}

// Makes one call, and prints what it did.
using ModelCall = absl::Status (*)(Client& client, const std::string& name, bool json);

// Calls for every name, even after one has failed. The exit code is that of the first failure.
ExitCode RunForEachName(const ModelsFlags& flags, ModelCall call) {
  absl::StatusOr<Client> client = MakeClient(flags.connection);
  if (!client.ok()) return ReportError(client.status(), flags.json);
  ExitCode code = kExitOk;
  for (const std::string& name : flags.names) {
    const absl::Status status = call(*client, name, flags.json);
    std::fflush(stdout);
    if (status.ok()) continue;
    const ExitCode failure = ReportError(AboutModel(status, name), flags.json);
    if (code == kExitOk) code = failure;
    if (!IsAboutOneModel(status)) break;
  }
  return code;
}

ExitCode RunWatch(const ModelsFlags& flags) {
  Interrupts interrupts;
  absl::StatusOr<Client> client = MakeClient(flags.connection);
  if (!client.ok()) return ReportError(client.status(), flags.json);
  const absl::Status status = WatchModels(*client, flags.json, interrupts);
  return ReportEnd(status, interrupts.interrupted(), flags.json);
}

// `denoise models NAME load` would be two commands.
void AddSharedFlags(CLI::App& app, ModelsFlags& flags, const char* json_help) {
  app.excludes(app.get_parent()->get_option("name"));
  app.add_flag("--json", flags.json, json_help);
  AddConnectionFlags(app, flags.connection);
}

Command AddCall(CLI::App& app, const SharedFlags& flags, ModelCall call, const char* json_help) {
  app.add_option("name", flags->names, "The models, as `denoise models` prints them")
      ->required()
      ->type_name("NAME");
  AddSharedFlags(app, *flags, json_help);
  return [flags, call] { return RunForEachName(*flags, call); };
}

Command AddWatch(CLI::App& app, const SharedFlags& flags) {
  AddSharedFlags(app, *flags, "Print one line of JSON per event and nothing else");
  return [flags] { return RunWatch(*flags); };
}

}  // namespace

Command AddModelsCommand(CLI::App& app) {
  constexpr char kModelJsonHelp[] = "Print one line of JSON per model and nothing else";
  const auto flags = std::make_shared<ModelsFlags>();
  app.add_option("name", flags->name, "Describe this model. Default: list all")->type_name("NAME");
  app.add_flag("--json", flags->json, kModelJsonHelp);
  AddConnectionFlags(app, flags->connection);
  SetExamples(app, kExamples);
  CommandSet commands(app, [flags] { return RunModels(*flags); });
  commands.Add("load", "Load models into memory now", kLoadExamples,
               [&](CLI::App& command) { return AddCall(command, flags, Load, kModelJsonHelp); });
  commands.Add("unload", "Free the memory of models", kUnloadExamples,
               [&](CLI::App& command) { return AddCall(command, flags, Unload, kModelJsonHelp); });
  commands.Add(
      "delete", "Delete models from the server's disk", kDeleteExamples, [&](CLI::App& command) {
        return AddCall(command, flags, Delete, "Print errors as JSON, and nothing otherwise");
      });
  commands.Add("watch", "Follow which models there are and how they change", kWatchExamples,
               [&](CLI::App& command) { return AddWatch(command, flags); });
  return commands.Chosen();
}

}  // namespace denoise
