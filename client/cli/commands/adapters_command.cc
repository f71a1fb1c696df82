#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/display/adapter_text.h"
#include "client/cli/flags/connection_flags.h"
#include "client/client.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr char kExamples[] = R"(  denoise adapters
  denoise adapters --model sd15
  denoise adapters --json | jq -r 'select(.error) | .error'
  denoise generate --model sd15 --prompt "a lighthouse" --lora pixel-art=0.8

An adapter is a safetensors file in the folder that `denoised --adapters` names,
or in the folder loras of a model.
)";

struct AdaptersFlags {
  ConnectionFlags connection;
  std::string model;
  bool json = false;
};

void Print(const std::string& text) { std::puts(text.c_str()); }

std::string NoAdapters(const AdaptersFlags& flags) {
  if (!flags.model.empty()) return "No adapter fits this model.";
  return "The server has no adapters. Start it with a folder of them: `denoised --adapters DIR`.";
}

ExitCode RunAdapters(const AdaptersFlags& flags) {
  absl::StatusOr<Client> client = MakeClient(flags.connection);
  if (!client.ok()) return ReportError(client.status(), flags.json);
  const auto adapters = client->ListAdapters(flags.model);
  if (!adapters.ok()) {
    return ReportError(
        AboutName(
            adapters.status(),
            {.field = "model", .kind = "model", .text = flags.model, .list = "denoise models"}),
        flags.json);
  }
  if (flags.json) {
    for (const v1::Adapter& adapter : *adapters) Print(AdapterJson(adapter));
  } else {
    Print(adapters->empty() ? NoAdapters(flags) : AdapterTable(*adapters));
  }
  return kExitOk;
}

}  // namespace

Command AddAdaptersCommand(CLI::App& app) {
  const auto flags = std::make_shared<AdaptersFlags>();
  app.add_option("-m,--model", flags->model, "List only those that fit this model")
      ->type_name("NAME");
  app.add_flag("--json", flags->json, "Print one line of JSON per adapter and nothing else");
  AddConnectionFlags(app, flags->connection);
  SetExamples(app, kExamples);
  return [flags] { return RunAdapters(*flags); };
}

}  // namespace denoise
