#include <cstdio>
#include <memory>
#include <string>

#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/display/resource_text.h"
#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/message_flags.h"
#include "client/client.h"
#include "denoised/v1/generations.pb.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr char kExamples[] = R"(  denoise generations list
  denoise generations get zoo
  denoise generations cancel zoo

A generation is listed while it runs. After its end, one that was started with
--request-id or --detach is kept for a while.
)";
constexpr char kListExamples[] = R"(  denoise generations list
  denoise generations list --json | jq -r 'select(.state == "RUNNING") | .name'
)";

// Of GetGeneration and CancelGeneration alike.
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
      return ReportError(AboutName(generation.status(), {.field = "name",
                                                         .kind = "generation",
                                                         .text = flags->request.name(),
                                                         .list = "denoise generations list"}),
                         flags->json, NameTable());
    }
    Print(flags->json ? ResourceJson(*generation) : kText(*generation));
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
  commands.Add("cancel", "End a generation", "  denoise generations cancel zoo\n",
               AddCall<&Client::CancelGeneration, GenerationLine>);
  SetExamples(app, kExamples);
  return commands.Chosen();
}

}  // namespace denoise
