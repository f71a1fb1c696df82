#include "client/cli/commands/diffuse_command.h"

#include <CLI/Option.hpp>
#include <CLI/Validators.hpp>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/cli/commands/diffusion_recorder.h"
#include "client/cli/commands/follow_stream.h"
#include "client/cli/error_report.h"
#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/generate_request.h"
#include "client/cli/interrupts.h"
#include "client/client.h"
#include "core/base/field_violations.h"
#include "core/base/read_file.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr char kExamples[] = R"(Examples:
  denoise diffuse photo.png
  denoise diffuse cat.jpg dog.webp --timesteps 0,100,250,500,999 --seed 7 --out noise
  denoise diffuse photo.png --mode step-by-step --steps 60 --format npy

Writes the frames, diffusing.png with a row for each picture, and the animation diffusing.webp; tells
the signal and noise of each level. `denoise roundtrip` goes into noise and comes back.

)";

constexpr size_t kMostFileBytes = size_t{64} << 20;  // far more than a server takes

struct DiffuseFlags {
  ConnectionFlags connection;
  std::string model;  // empty: the only one served
  std::vector<std::string> pictures;
  std::vector<double> timesteps;
  std::optional<int32_t> steps;
  std::optional<uint64_t> seed;
  std::string mode = "closed-form";
  std::string format = "png";
  std::string out = "out";
  bool json = false;
};

absl::StatusOr<v1::DiffuseRequest> BuildRequest(Client& client, const DiffuseFlags& flags) {
  v1::DiffuseRequest request;
  FieldViolations violations;
  for (const std::string& path : flags.pictures) {
    absl::StatusOr<std::string> bytes = ReadFile(path, kMostFileBytes);
    violations.AddAll("pictures", bytes.status());
    if (bytes.ok()) request.add_pictures()->set_data(*std::move(bytes));
  }
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(const v1::Model model, ResolveModel(client, flags.model));
  request.set_model(model.name());
  request.mutable_timesteps()->Add(flags.timesteps.begin(), flags.timesteps.end());
  if (flags.steps.has_value()) request.set_steps(*flags.steps);
  if (flags.seed.has_value()) request.set_seed(*flags.seed);
  request.set_mode(flags.mode == "step-by-step" ? v1::DIFFUSE_MODE_STEP_BY_STEP
                                                : v1::DIFFUSE_MODE_CLOSED_FORM);
  request.set_encoding(EncodingOf(flags.format));
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
  Interrupts interrupts;
  // A folder that cannot be written to is found out before anything is asked of the server.
  absl::StatusOr<OutputFolder> folder = OutputFolder::Open(flags.out);
  if (!folder.ok()) return ReportError(folder.status(), flags.json);
  absl::StatusOr<Client> client = MakeClient(flags.connection);
  if (!client.ok()) return ReportError(client.status(), flags.json);
  const absl::StatusOr<v1::DiffuseRequest> request = BuildRequest(*client, flags);
  if (!request.ok()) return ReportError(request.status(), flags.json);

  DiffuseStream stream = client->Diffuse(*request);
  interrupts.SetHandler([&stream] { stream.Cancel(); });
  DiffusionRecorder recorder(*std::move(folder), request->pictures_size());
  const absl::Status status = Diffuse(stream, recorder, flags.json);
  interrupts.SetHandler(nullptr);
  return status.ok() ? kExitOk : ReportEnd(status, interrupts.interrupted(), flags.json);
}

void AddDiffuseFlags(CLI::App& app, DiffuseFlags& flags) {
  app.add_option("pictures", flags.pictures,
                 "PNG, JPEG or WebP files; cropped and resized to the model's pictures")
      ->required()
      ->check(CLI::ExistingFile)
      ->type_name("FILE");
  app.add_option("-m,--model", flags.model,
                 "Whose noise schedule. Default: the only model that is served");
  CLI::Option* const steps = app.add_option(
      "--steps", flags.steps,
      "Frames, evenly spaced over the schedule, where it has as many timesteps. Default: 9");
  app.add_option("--timesteps", flags.timesteps, "Frames at just these timesteps, ascending")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->excludes(steps)
      ->type_name("T,T");
  app.add_option("--mode", flags.mode,
                 "closed-form: each frame from the picture at once, q(x_t | x_0), with one noise;\n"
                 "step-by-step: q(x_t | x_{t-1}), with fresh noise at every timestep")
      ->check(CLI::IsMember({"closed-form", "step-by-step"}))
      ->capture_default_str();
  app.add_option("-s,--seed", flags.seed,
                 "Picture i gets the noise of seed S + i. Default: the server chooses")
      ->check(CLI::Validator(CLI::NonNegativeNumber).description(""))
      ->type_name("S");
  app.add_option("-o,--out", flags.out, "The folder to write to; made if need be")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--format", flags.format,
                 "The file format of frames; npy is x_t itself, float32, [C, H, W]")
      ->check(CLI::IsMember({"png", "webp", "jpeg", "npy"}))
      ->capture_default_str();
  app.add_flag("--json", flags.json, "Print one line of JSON for every event, and nothing else");
  AddConnectionFlags(app, flags.connection);
}

}  // namespace

std::function<ExitCode()> AddDiffuseCommand(CLI::App& app) {
  const auto flags = std::make_shared<DiffuseFlags>();
  AddDiffuseFlags(app, *flags);
  app.footer(std::string(kExamples) + kExitCodesHelp);
  return [flags] { return RunDiffuse(*flags); };
}

}  // namespace denoise
