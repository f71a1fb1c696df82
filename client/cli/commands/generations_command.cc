#include <cstdio>
#include <memory>
#include <string>

#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/display/resource_text.h"
#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/generate_flags.h"
#include "client/cli/flags/message_flags.h"
#include "client/client.h"
#include "denoised/v1/generations.pb.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr char kExamples[] = R"(  denoise generations list
  denoise generations get zoo
  denoise generations pause zoo --out zoo.paused
  denoise generations cancel zoo

A generation is listed while it runs. After its end, one that was started with
--request-id or --detach, or was paused, is kept for a while.
)";
constexpr char kPauseExamples[] = R"(  denoise generations pause zoo --out zoo.paused
  denoise generate --resume zoo.paused

The device is free for others from the next evaluation on. The file holds all
that is needed to continue, for seven days unless the server says otherwise:
here, on another server with the same --handover-key, or after a restart. The
images are the same as without the pause. Images that were finished while nobody
read them are made again; no other evaluation is repeated. If you have lost the
file, pause the generation again while it is still listed.
)";
constexpr char kListExamples[] = R"(  denoise generations list
  denoise generations list --json | jq -r 'select(.state == "RUNNING") | .name'
)";

// Of all calls for one generation.
const FlagTable& NameTable() {
  static const auto* const table =
      new FlagTable{{"generation",
                     "name",
                     "A --request-id, or a name that `denoise generations list` prints",
                     "Options",
                     {.value = "GENERATION", .required = true}}};
  return *table;
}

void Print(const std::string& text) { std::puts(text.c_str()); }

Command AddList(CLI::App& app) {
  struct Flags {
    ConnectionFlags connection;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  app.add_flag("--json", flags->json, "Print one line of JSON per generation and nothing else");
  AddConnectionFlags(app, flags->connection);
  return [flags] {
    absl::StatusOr<Client> client = MakeClient(flags->connection);
    if (!client.ok()) return ReportError(client.status(), flags->json);
    const auto generations = client->ListGenerations();
    if (!generations.ok()) return ReportError(generations.status(), flags->json);
    if (!flags->json) {
      Print(generations->empty() ? "No generation is running, and no result is kept."
                                 : GenerationTable(*generations));
      return kExitOk;
    }
    for (const v1::Generation& generation : *generations) Print(ResourceJson(generation));
    return kExitOk;
  };
}

// Of a call for the generation that was typed as `name`.
ExitCode ReportCallError(const absl::Status& status, const std::string& name, bool json) {
  return ReportError(AboutName(status, {.field = "name",
                                        .kind = "generation",
                                        .text = name,
                                        .list = "denoise generations list"}),
                     json, NameTable());
}

// A command that makes one call for a generation and prints the generation as it is afterwards.
using GenerationCall = absl::StatusOr<v1::Generation> (Client::*)(std::string_view name);

using GenerationText = std::string (*)(const v1::Generation& generation);

template <GenerationCall kCall, GenerationText kText>
Command AddCall(CLI::App& app) {
  struct Flags {
    ConnectionFlags connection;
    v1::GetGenerationRequest request;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  AddMessageFlags(app, flags->request, NameTable());
  app.add_flag("--json", flags->json, "Print JSON and nothing else");
  AddConnectionFlags(app, flags->connection);
  return [flags] {
    absl::StatusOr<Client> client = MakeClient(flags->connection);
    if (!client.ok()) return ReportError(client.status(), flags->json);
    const absl::StatusOr<v1::Generation> generation = ((*client).*kCall)(flags->request.name());
    if (!generation.ok()) {
      return ReportCallError(generation.status(), flags->request.name(), flags->json);
    }
    Print(flags->json ? ResourceJson(*generation) : kText(*generation));
    return kExitOk;
  };
}

Command AddPause(CLI::App& app) {
  struct Flags {
    ConnectionFlags connection;
    v1::PauseGenerationRequest request;
    std::string out;
    bool overwrite = false;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  AddMessageFlags(app, flags->request, NameTable());
  app.add_option("-o,--out", flags->out, "The file to write the token to, for you alone to read")
      ->type_name("FILE")
      ->required();
  AddOverwriteFlag(app, flags->overwrite);
  app.add_flag("--json", flags->json, "Print JSON and nothing else");
  AddConnectionFlags(app, flags->connection);
  return [flags] {
    const absl::Status free = CheckNewFile("--out", flags->out, flags->overwrite);
    if (!free.ok()) return ReportError(free, flags->json);
    absl::StatusOr<Client> client = MakeClient(flags->connection);
    if (!client.ok()) return ReportError(client.status(), flags->json);
    const std::string& name = flags->request.name();
    absl::StatusOr<v1::PauseGenerationResponse> paused = client->PauseGeneration(name);
    if (!paused.ok()) return ReportCallError(paused.status(), name, flags->json);
    const absl::StatusOr<WrittenFile> file = WritePrivateFile(flags->out, paused->token());
    if (!file.ok()) {
      const ExitCode code = ReportError(file.status(), flags->json);
      std::fputs("  The generation is paused. Run the command again with another --out.\n", stderr);
      return code;
    }
    const std::string resume = CommandLine("denoise generate", {"--resume", file->path});
    Print(flags->json ? ResourceJson(*paused) : PausedText(*paused, resume));
    return kExitOk;
  };
}

}  // namespace

Command AddGenerationsCommand(CLI::App& app) {
  CommandSet commands(app);
  commands.Add("list", "List what is running and what is kept, the latest first", kListExamples,
               AddList);
  commands.Add("get", "Describe a generation", "  denoise generations get zoo\n",
               AddCall<&Client::GetGeneration, GenerationDetails>);
  commands.Add("pause", "Stop a generation, and write what continues it to a file", kPauseExamples,
               AddPause);
  commands.Add("cancel", "End a generation", "  denoise generations cancel zoo\n",
               AddCall<&Client::CancelGeneration, GenerationLine>);
  SetExamples(app, kExamples);
  return commands.Chosen();
}

}  // namespace denoise
