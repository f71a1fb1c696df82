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
#include "client/cli/commands/resume_generation.h"
#include "client/cli/display/text.h"
#include "client/cli/flags/generate_flags.h"
#include "client/cli/flags/model_lookup.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr char kExamples[] = R"(  denoise generate -p "a red fox in the snow" -W 512 -H 512 --seed 7
  denoise generate -p "a (red:1.3) fox" --negative-prompt "blurry" -g 6 -n 4
  denoise generate --class-label animals --count 8 --frames 1
  denoise generate -c food -n 4 --seed 7 --sampler ddim --steps 50 --eta 0.5
  denoise generate -c 2 --sampler dpmpp_2m --sigma-spacing karras --out animals
  denoise generate --class-weights animals=0.6,food=0.4 --guidance-scale 4
  denoise generate -c smileys --guidance-scale 5 --guidance-sigma-min 0.3
  denoise generate -c symbols -n 8 --frames 1 --animation symbols.gif
  denoise generate -c smileys -n 4 --frames 1 --frame-kind x_t,x0
  denoise generate -c symbols -n 16 --format npy --json > events.jsonl
  denoise generate -c animals --init photo.png --strength 0.6
  denoise generate -c animals --inpaint photo.png --mask mask.png
  denoise generate -c food -n 9 --from-seed 1 --to-seed 2
  denoise generate -c food -n 8 --from-seed 1 --variation 0.2
  denoise generate -c animals -n 64 --request-id zoo
  denoise generate -c animals -n 64 --request-id park --detach

Continue what `denoise generations pause zoo --out zoo.paused` has paused:
  denoise generate --resume zoo.paused

Continue from a frame of another generation, with another class:
  denoise generate -c food -s 5 --sampler ddim --out run \
      --frames 1 --frame-kind x_t --frame-encoding npy
  denoise generate -c 2 -s 5 --sampler ddim \
      --branch run/frames/image-0-step-007.npy --branch-step 7

Find the noise of a picture, and generate from it:
  denoise generate -c food --invert photo.png --sampler ddim --steps 100 \
      --out noise
  denoise generate -c 2 --noise noise/image-0.npy --sampler ddim --steps 100

Writes image-<i>.<format> and contact-sheet.png; with --frames also the frames,
denoising.png and the animation denoising.webp. A folder holds one run: to write
to that of an earlier one, add --overwrite. The same seed and settings give the
same images, whatever else the server is doing.
)";

// Takes events until the stream ends, then writes the summary.
absl::Status Generate(const GenerateFlags& flags, GenerateStream& stream,
                      GenerationRecorder& recorder) {
  GenerationView view(flags.output);
  RETURN_IF_ERROR(view.Follow(stream, recorder));
  RETURN_IF_ERROR(recorder.WriteSummary());
  if (!flags.output.json) std::puts(recorder.SummaryText(view.finished()).c_str());
  return absl::OkStatus();
}

// What was written stays. The seed that the server chose is known once it has accepted the request,
// and with it the command that generates the same images.
void ReportPartialResult(const GenerationRecorder& recorder, v1::GenerateRequest request,
                         const GivenFlags& given, const absl::Status& status) {
  const RecordedFiles& files = recorder.files();
  if (files.images > 0 || files.frames > 0) {
    std::fprintf(stderr, "  Written before that: %d images and %d frames in %s\n", files.images,
                 files.frames, files.folder.c_str());
  }
  if (recorder.history() == nullptr) return;
  if (ReportPaused(status)) return;
  // A request with an id joins the generation of this very request, so it stays as it is, unless
  // that has been cancelled: the id would start another one, with another seed.
  const bool goes_on = request.on_disconnect() == v1::ON_DISCONNECT_DETACH;
  if (absl::IsCancelled(status) && !goes_on) request.clear_request_id();
  if (request.request_id().empty()) request.set_seed(recorder.accepted().seed());
  request.set_model(ShortModelName(request.model()));
  std::fprintf(
      stderr, "  The same images again: %s\n",
      CommandLine("denoise generate", ArgumentsOf(GenerateTable(), request, given)).c_str());
}

// Leaves the generation to the server once it has it.
ExitCode StartDetached(GenerateStream& stream, bool json) {
  const absl::StatusOr<std::optional<v1::GenerateEvent>> event = stream.Next();
  if (!event.ok()) return ReportError(event.status(), json, GenerateTable());
  if (!event->has_value() || !(*event)->has_accepted()) {
    return ReportError(absl::InternalError("the server did not say what it accepted"), json);
  }
  const std::string id = Printable(ShortGenerationName((*event)->accepted().generation()));
  std::puts((json ? EventJson(**event, {}) : id).c_str());
  return kExitOk;
}

// Nullopt for a command that writes nothing. One with an id may come back to its files.
absl::StatusOr<std::optional<OutputFolder>> OpenFolder(const GenerateFlags& flags) {
  if (flags.detach) return std::nullopt;
  const std::string& id = flags.request.request_id();
  if (!flags.animation.empty() && id.empty()) {
    RETURN_IF_ERROR(CheckNewFile("--animation", flags.animation, flags.output.overwrite));
  }
  OutputRun run = {.name = id.empty() ? "" : GenerationResourceName(id),
                   .files = {"image-0.png", "contact-sheet.png"}};
  ASSIGN_OR_RETURN(OutputFolder folder, OpenOutputFolder(flags.output, std::move(run)));
  return folder;
}

absl::StatusOr<v1::GenerateRequest> PrepareRequest(Client& client, const GenerateFlags& flags) {
  ASSIGN_OR_RETURN(const v1::Model model, ResolveModel(client, flags.request.model()));
  return BuildGenerateRequest(GenerateTable(), flags, model);
}

ExitCode RunGenerate(const GenerateFlags& flags) {
  const bool json = flags.output.json;
  Interrupts interrupts;
  // Files that cannot be written are reported before the server is asked for anything.
  absl::StatusOr<std::optional<OutputFolder>> folder = OpenFolder(flags);
  if (!folder.ok()) return ReportError(folder.status(), json);
  absl::StatusOr<Client> client = MakeClient(flags.connection);
  if (!client.ok()) return ReportError(client.status(), json);
  const absl::StatusOr<v1::GenerateRequest> request = PrepareRequest(*client, flags);
  if (!request.ok()) return ReportError(request.status(), json, GenerateTable());

  GenerateStream stream = client->Generate(*request);
  interrupts.SetHandler([&stream] { stream.Cancel(); });
  if (flags.detach) {
    const ExitCode code = StartDetached(stream, json);
    interrupts.SetHandler(nullptr);
    return code;
  }
  GenerationRecorder recorder(**std::move(folder), *request, flags.animation);
  const absl::Status status = Generate(flags, stream, recorder);
  interrupts.SetHandler(nullptr);
  if (status.ok()) return kExitOk;
  const ExitCode code = ReportEnd(status, interrupts.interrupted(), json, GenerateTable());
  ReportPartialResult(recorder, *request, flags.given, status);
  const std::string& generation = recorder.accepted().generation();
  if (code == kExitInterrupted && !generation.empty() &&
      request->on_disconnect() == v1::ON_DISCONNECT_DETACH) {
    ReportContinues(generation);
  }
  return code;
}

}  // namespace

Command AddGenerateCommand(CLI::App& app) {
  const auto flags = std::make_shared<GenerateFlags>();
  AddGenerateFlags(app, *flags);
  SetExamples(app, kExamples);
  return [flags] { return flags->resume.empty() ? RunGenerate(*flags) : ResumeGeneration(*flags); };
}

}  // namespace denoise
