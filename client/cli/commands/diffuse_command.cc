#include <CLI/Option.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "client/cli/commands/commands.h"
#include "client/cli/commands/diffusion_recorder.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/follow_stream.h"
#include "client/cli/commands/interrupts.h"
#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/generate_flags.h"
#include "client/cli/flags/model_lookup.h"
#include "client/client.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr char kExamples[] = R"(  denoise diffuse photo.png
  denoise diffuse cat.jpg dog.webp --timesteps 0,100,250,500,999 --out noise
  denoise diffuse photo.png --mode step-by-step --steps 60 --format npy

Writes the frames, diffusing.png with a row per picture, and the animation
diffusing.webp; prints the signal and noise of each level. `denoise roundtrip`
goes into noise and comes back.
)";

struct DiffuseFlags {
  ConnectionFlags connection;
  v1::DiffuseRequest request;
  GivenFlags given;
  OutputFlags output;
};

absl::StatusOr<v1::DiffuseRequest> BuildRequest(Client& client, const DiffuseFlags& flags) {
  v1::DiffuseRequest request = flags.request;
  ASSIGN_OR_RETURN(const v1::Model model, ResolveModel(client, request.model()));
  request.set_model(model.name());
  RETURN_IF_ERROR(CompleteMessage(DiffuseTable(), flags.given, model, request));
  return request;
}

absl::Status Diffuse(DiffuseStream& stream, DiffusionRecorder& recorder, bool json) {
  const auto ignore = [](const v1::DiffuseEvent&) {};
  RETURN_IF_ERROR(FollowStream(stream, recorder, json, ignore));
  RETURN_IF_ERROR(recorder.WriteSummary());
  if (!json) std::puts(recorder.SummaryText().c_str());
  return absl::OkStatus();
}

ExitCode RunDiffuse(const DiffuseFlags& flags) {
  const bool json = flags.output.json;
  Interrupts interrupts;
  // A folder that cannot be written to is reported before the server is asked for anything.
  absl::StatusOr<OutputFolder> folder =
      OpenOutputFolder(flags.output, {.files = {"diffusing.png"}});
  if (!folder.ok()) return ReportError(folder.status(), json);
  absl::StatusOr<Client> client = MakeClient(flags.connection);
  if (!client.ok()) return ReportError(client.status(), json);
  const absl::StatusOr<v1::DiffuseRequest> request = BuildRequest(*client, flags);
  if (!request.ok()) return ReportError(request.status(), json, DiffuseTable());

  DiffuseStream stream = client->Diffuse(*request);
  interrupts.SetHandler([&stream] { stream.Cancel(); });
  DiffusionRecorder recorder(*std::move(folder), request->pictures_size());
  const absl::Status status = Diffuse(stream, recorder, json);
  interrupts.SetHandler(nullptr);
  if (status.ok()) return kExitOk;
  return ReportEnd(status, interrupts.interrupted(), json, DiffuseTable());
}

void AddDiffuseFlags(CLI::App& app, DiffuseFlags& flags) {
  AddMessageFlags(app, flags.request, DiffuseTable(), &flags.given);
  app.get_option("--timesteps")->excludes(app.get_option("--steps"));
  AddOutputFlags(app, flags.output);
  AddConnectionFlags(app, flags.connection);
}

}  // namespace

Command AddDiffuseCommand(CLI::App& app) {
  const auto flags = std::make_shared<DiffuseFlags>();
  AddDiffuseFlags(app, *flags);
  SetExamples(app, kExamples);
  return [flags] { return RunDiffuse(*flags); };
}

}  // namespace denoise
