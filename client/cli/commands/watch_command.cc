#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/follow_stream.h"
#include "client/cli/commands/generation_recorder.h"
#include "client/cli/commands/interrupts.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/commands/reconnector.h"
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
started with --on-disconnect cancel and nobody else reads it. A watch whose
server goes away continues when it is back, for up to ten minutes.
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

// One watch, over as many streams as it takes.
class Watch {
 public:
  Watch(const WatchFlags& flags, Client& client, Interrupts& interrupts)
      : flags_(flags), client_(client), interrupts_(interrupts), view_(flags.output) {
    if (flags.request.has_resume_after()) last_sequence_ = flags.request.resume_after();
  }

  // Takes events until the generation ends. Only one that was followed from the beginning has a
  // summary.
  absl::Status Run(const v1::Generation& generation, GenerationRecorder& recorder) {
    const bool resumes = flags_.request.has_resume_after();
    if (resumes) RETURN_IF_ERROR(BeginWith(generation.accepted(), recorder));
    Reconnector reconnector(interrupts_);
    absl::Status status;
    do {
      status = Follow(generation.name(), recorder, reconnector);
    } while (ServerIsAway(status, generation.name()) && reconnector.Wait([] {}));
    interrupts_.SetHandler(nullptr);
    RETURN_IF_ERROR(status);
    if (resumes && !view_.last_sequence()) {
      std::fprintf(stderr, "denoise: there is no event after %lld: the generation has ended\n",
                   static_cast<long long>(flags_.request.resume_after()));
    }
    if (resumes) return absl::OkStatus();
    RETURN_IF_ERROR(recorder.WriteSummary());
    if (!flags_.output.json) std::puts(recorder.SummaryText(view_.finished()).c_str());
    return absl::OkStatus();
  }

 private:
  absl::Status BeginWith(const v1::Accepted& accepted, GenerationRecorder& recorder) {
    v1::GenerateEvent first;
    *first.mutable_accepted() = accepted;
    RETURN_IF_ERROR(recorder.Record(first).status());
    view_.Accept(first);
    return absl::OkStatus();
  }

  absl::Status Follow(const std::string& name, GenerationRecorder& recorder,
                      Reconnector& reconnector) {
    GenerateStream stream = client_.WatchGeneration(name, last_sequence_);
    interrupts_.SetHandler([&stream] { stream.Cancel(); });
    const absl::Status status =
        interrupts_.interrupted() ? absl::CancelledError() : view_.Follow(stream, recorder);
    interrupts_.SetHandler([] {});  // Run checks between streams
    if (view_.last_sequence() && view_.last_sequence() != last_sequence_) {
      last_sequence_ = view_.last_sequence();
      reconnector.OnEvent();
    }
    return status;
  }

  // A server that shuts down cancels the streams that it has left. So does the end of a generation
  // that somebody cancelled, of which the server still knows.
  bool ServerIsAway(const absl::Status& status, const std::string& name) const {
    if (absl::IsUnavailable(status)) return true;
    if (!absl::IsCancelled(status) || interrupts_.interrupted()) return false;
    const absl::StatusOr<v1::Generation> generation = client_.GetGeneration(name);
    if (!generation.ok()) return absl::IsUnavailable(generation.status());
    return generation->state() == v1::Generation::QUEUED ||
           generation->state() == v1::Generation::RUNNING;
  }

  const WatchFlags& flags_;
  Client& client_;
  Interrupts& interrupts_;
  std::optional<int64_t> last_sequence_;
  GenerationView view_;
};

ExitCode RunWatch(const WatchFlags& flags) {
  const bool json = flags.output.json;
  Interrupts interrupts;
  const bool resumes = flags.request.has_resume_after();
  absl::StatusOr<OutputFolder> folder = OpenOutputFolder(
      flags.output,
      {.name = GenerationResourceName(flags.request.name()),
       .continues = resumes,
       .files = resumes ? std::vector<std::string>()
                        : std::vector<std::string>{"image-0.png", "contact-sheet.png"}});
  if (!folder.ok()) return ReportError(folder.status(), json);
  absl::StatusOr<Client> client = MakeClient(flags.connection);
  if (!client.ok()) return ReportError(client.status(), json);
  const absl::StatusOr<v1::Generation> generation = client->GetGeneration(flags.request.name());
  if (!generation.ok()) {
    return ReportError(AboutName(generation.status(), {.field = "name",
                                                       .kind = "generation",
                                                       .text = flags.request.name(),
                                                       .list = "denoise generations list"}),
                       json, WatchTable());
  }
  GenerationRecorder recorder(*std::move(folder), RequestOf(generation->accepted()));
  const absl::Status status = Watch(flags, *client, interrupts).Run(*generation, recorder);
  if (status.ok()) return kExitOk;
  const ExitCode code = ReportEnd(status, interrupts.interrupted(), json, WatchTable());
  ReportPaused(status);
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
