#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/display/model_text.h"
#include "client/cli/flags/connection_flags.h"
#include "client/client.h"

namespace denoise {
namespace {

constexpr char kExamples[] = R"(  denoise models
  denoise models emoji-32
  denoise models --json | jq -r .name
)";

struct ModelsFlags {
  ConnectionFlags connection;
  std::string name;
  bool json = false;
};

ExitCode ShowOne(Client& client, const ModelsFlags& flags) {
  const auto model = client.GetModel(flags.name);
  if (!model.ok()) {
    return ReportError(
        AboutName(model.status(),
                  {.field = "name", .kind = "model", .text = flags.name, .list = "denoise models"}),
        flags.json);
  }
  std::puts((flags.json ? ModelJson(*model) : ModelDetails(*model)).c_str());
  return kExitOk;
}

ExitCode ShowAll(Client& client, const ModelsFlags& flags) {
  const auto models = client.ListModels();
  if (!models.ok()) return ReportError(models.status(), flags.json);
  if (flags.json) {
    for (const auto& model : *models) std::puts(ModelJson(model).c_str());
  } else if (models->empty()) {
    std::puts(
        "The server serves no model. Start it with a folder of models: `denoised --models DIR`.");
  } else {
    std::puts(ModelTable(*models).c_str());
  }
  return kExitOk;
}

ExitCode RunModels(const ModelsFlags& flags) {
  absl::StatusOr<Client> client = MakeClient(flags.connection);
  if (!client.ok()) return ReportError(client.status(), flags.json);
  return flags.name.empty() ? ShowAll(*client, flags) : ShowOne(*client, flags);
}

}  // namespace

Command AddModelsCommand(CLI::App& app) {
  const auto flags = std::make_shared<ModelsFlags>();
  app.add_option("name", flags->name, "Describe this model. Default: list all")->type_name("NAME");
  app.add_flag("--json", flags->json, "Print one line of JSON per model and nothing else");
  AddConnectionFlags(app, flags->connection);
  SetExamples(app, kExamples);
  return [flags] { return RunModels(*flags); };
}

}  // namespace denoise
