#include <CLI/Option.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cli/commands/commands.h"
#include "client/cli/commands/diffusion_recorder.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/follow_stream.h"
#include "client/cli/commands/interrupts.h"
#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/generate_flags.h"
#include "client/cli/flags/model_lookup.h"
#include "client/client.h"
#include "core/base/field_violations.h"
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

// `status`, where a violation of "pictures[1].data" names the second of `files`.
absl::Status AboutFiles(const absl::Status& status, const std::vector<std::string>& files) {
  constexpr absl::string_view kPictures = "pictures[";
  FieldViolations violations;
  for (const FieldViolation& violation : GetFieldViolations(status)) {
    absl::string_view index = violation.field;
    size_t file = files.size();
    const bool is_picture = absl::ConsumePrefix(&index, kPictures) &&
                            absl::SimpleAtoi(index.substr(0, index.find(']')), &file) &&
                            file < files.size();
    violations.Add(violation.field, is_picture
                                        ? absl::StrCat(files[file], ": ", violation.description)
                                        : violation.description);
  }
  if (violations.empty()) return status;
  absl::Status named = violations.ToStatus();
  status.ForEachPayload([&named](absl::string_view url, const absl::Cord& payload) {
    if (!named.GetPayload(url)) named.SetPayload(url, payload);
  });
  return named;
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
  return ReportEnd(AboutFiles(status, flags.given.at("pictures.data")), interrupts.interrupted(),
                   json, DiffuseTable());
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
