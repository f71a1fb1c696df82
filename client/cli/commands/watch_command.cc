#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/follow_stream.h"
#include "client/cli/commands/generation_recorder.h"
#include "client/cli/commands/interrupts.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/generate_flags.h"
#include "core/base/status_macros.h"
#include "denoised/v1/generations.pb.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr char kExamples[] = R"(  denoise watch zoo
  denoise watch zoo --out elsewhere
  denoise watch zoo --resume-after 120 --json

Shows and writes what `denoise generate` does, from the beginning, as far as the
server still has it. The generation does not depend on the watch, unless it was
started with --on-disconnect cancel and nobody else reads it.
)";

const FlagTable& WatchTable() {
  static const auto* const table =
      new FlagTable{{"generation",
                     "name",
                     "A --request-id, or a name that `denoise generations list` prints",
                     "Options",
                     {.value = "GENERATION", .required = true}},
                    {"--resume-after",
                     "resume_after",
                     "Only events with a higher sequence number. No sheets are written then",
                     "Options",
                     {.value = "N"}}};
  return *table;
}

struct WatchFlags {
  ConnectionFlags connection;
  v1::WatchGenerationRequest request;
  OutputFlags output;
};

// What the recorder must know of the request.
v1::GenerateRequest RequestOf(const v1::Accepted& accepted) {
  v1::GenerateRequest request;
  request.set_count(accepted.count());
  if (accepted.has_frames()) *request.mutable_frames() = accepted.frames();
  return request;
}

// Takes events until the stream ends. Only a generation that was followed from the beginning has a
// summary.
absl::Status Watch(const WatchFlags& flags, const v1::Accepted& accepted, GenerateStream& stream,
                   GenerationRecorder& recorder) {
  const bool resumes = flags.request.has_resume_after();
  GenerationView view(flags.output);
  if (resumes) {
    v1::GenerateEvent first;
    *first.mutable_accepted() = accepted;
    RETURN_IF_ERROR(recorder.Record(first).status());
    view.Accept(first);
  }
  RETURN_IF_ERROR(view.Follow(stream, recorder));
  if (resumes) return absl::OkStatus();
  RETURN_IF_ERROR(recorder.WriteSummary());
  if (!flags.output.json) std::puts(recorder.SummaryText(view.finished()).c_str());
  return absl::OkStatus();
}

ExitCode RunWatch(const WatchFlags& flags) {
  const bool json = flags.output.json;
  Interrupts interrupts;
  absl::StatusOr<OutputFolder> folder = OutputFolder::Open(flags.output.out);
  if (!folder.ok()) return ReportError(folder.status(), json);
  absl::StatusOr<Client> client = MakeClient(flags.connection);
  if (!client.ok()) return ReportError(client.status(), json);
  const absl::StatusOr<v1::Generation> generation = client->GetGeneration(flags.request.name());
  if (!generation.ok()) return ReportError(generation.status(), json, WatchTable());

  std::optional<int64_t> resume_after;
  if (flags.request.has_resume_after()) resume_after = flags.request.resume_after();
  GenerateStream stream = client->WatchGeneration(generation->name(), resume_after);
  interrupts.SetHandler([&stream] { stream.Cancel(); });
  GenerationRecorder recorder(*std::move(folder), RequestOf(generation->accepted()));
  const absl::Status status = Watch(flags, generation->accepted(), stream, recorder);
  interrupts.SetHandler(nullptr);
  if (status.ok()) return kExitOk;
  const ExitCode code = ReportEnd(status, interrupts.interrupted(), json, WatchTable());
  if (code == kExitInterrupted && generation->on_disconnect() == v1::ON_DISCONNECT_DETACH) {
    ReportContinues(generation->name());
  }
  return code;
}

}  // namespace

Command AddWatchCommand(CLI::App& app) {
  const auto flags = std::make_shared<WatchFlags>();
  AddMessageFlags(app, flags->request, WatchTable());
  AddOutputFlags(app, flags->output);
  app.add_flag("--no-picture", flags->output.no_picture, "Show no pictures in the terminal")
      ->group("Output");
  AddConnectionFlags(app, flags->connection);
  SetExamples(app, kExamples);
  return [flags] { return RunWatch(*flags); };
}

}  // namespace denoise
