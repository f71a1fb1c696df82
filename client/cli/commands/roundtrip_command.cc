#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/follow_stream.h"
#include "client/cli/commands/interrupts.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/commands/plan_source.h"
#include "client/cli/commands/roundtrip_recorder.h"
#include "client/cli/flags/generate_flags.h"
#include "client/cli/flags/model_lookup.h"
#include "client/client.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/sampling/samplers/run.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr char kExamples[] = R"(  denoise roundtrip photo.png --class-label animals --strength 0.6
  denoise roundtrip photo.png -c food --seed 7 --sampler ddim --steps 50
  denoise roundtrip photo.png -c 2 --strength 0.4 --sampler euler_a --out trip

Noise is added through the levels that the sampler later comes back through, and
it is the noise that the sampler starts from, so that the two halves meet.
Writes every frame of both halves, the result as image-0, and both halves one
after the other as roundtrip.png and the looping animation roundtrip.webp.
)";

// Both requests of one round trip.
struct RoundTrip {
  v1::DiffuseRequest there;
  v1::GenerateRequest back;
  int steps;  // back
};

// The timestep of the first evaluation of each step, in the order of the run.
std::vector<double> StepTimesteps(const SamplerPlan& plan) {
  std::vector<double> timesteps;
  bool begins = true;
  for (const Evaluation& evaluation : plan.evaluations) {
    if (begins) timesteps.push_back(evaluation.timestep);
    begins = evaluation.ends_step;
  }
  return timesteps;
}

void AskForEveryStep(v1::GenerateRequest& request) {
  v1::FramePolicy& frames = *request.mutable_frames();
  frames.set_every_n_steps(1);
  frames.add_kinds(v1::FRAME_KIND_X_T);
  frames.set_encoding(request.image_encoding());
}

// The steps that run on a picture at this strength. InvalidArgument names the field of the request.
absl::StatusOr<std::vector<Segment>> LayOutSteps(double strength, size_t steps) {
  absl::StatusOr<std::vector<Segment>> run =
      LayOutRun({.strength = strength}, static_cast<int>(steps));
  if (run.ok()) return run;
  FieldViolations violations;
  violations.AddAll("start.image.", run.status());
  return violations.ToStatus();
}

// Asks the server which levels the sampler passes, and diffuses the picture to exactly those.
absl::StatusOr<RoundTrip> Prepare(Client& client, const GenerateFlags& flags) {
  RoundTrip trip;
  ASSIGN_OR_RETURN(const v1::Model model, ResolveModel(client, flags.request.model()));
  ASSIGN_OR_RETURN(trip.back, BuildGenerateRequest(RoundTripTable(), flags, model));
  AskForEveryStep(trip.back);
  ASSIGN_OR_RETURN(const v1::SamplerPlan message,
                   client.PlanSampler(trip.back.model(), trip.back.sampler()));
  ASSIGN_OR_RETURN(const SamplerPlan plan, ReceivePlan(message));
  std::vector<double> timesteps = StepTimesteps(plan);
  ASSIGN_OR_RETURN(const std::vector<Segment> run,
                   LayOutSteps(trip.back.start().image().strength(), timesteps.size()));
  timesteps.erase(timesteps.begin(), timesteps.begin() + run.front().first);
  trip.steps = static_cast<int>(timesteps.size());

  std::reverse(timesteps.begin(), timesteps.end());
  timesteps.erase(std::unique(timesteps.begin(), timesteps.end()), timesteps.end());
  trip.there.set_model(model.name());
  *trip.there.add_pictures() = trip.back.start().image().picture();
  trip.there.mutable_timesteps()->Add(timesteps.begin(), timesteps.end());
  trip.there.set_encoding(trip.back.frames().encoding());
  if (trip.back.has_seed()) trip.there.set_seed(trip.back.seed());
  return trip;
}

// Returns what `follow` makes of the stream; an interrupt cancels the stream.
template <class Stream, class Follow>
absl::Status FollowUnlessInterrupted(Interrupts& interrupts, Stream stream, Follow follow) {
  interrupts.SetHandler([&stream] { stream.Cancel(); });
  const absl::Status status = follow(stream);
  interrupts.SetHandler(nullptr);
  return status;
}

// Diffuses with the noise of a seed and generates from the same noise.
absl::Status Travel(Client& client, RoundTrip trip, const GenerateFlags& flags,
                    RoundTripRecorder& recorder, Interrupts& interrupts) {
  RETURN_IF_ERROR(
      FollowUnlessInterrupted(interrupts, client.Diffuse(trip.there), [&](DiffuseStream& stream) {
        return FollowStream(stream, recorder, flags.output.json, [](const v1::DiffuseEvent&) {});
      }));
  trip.back.set_seed(recorder.there().seed());
  GenerationView view(flags.output);
  RETURN_IF_ERROR(FollowUnlessInterrupted(
      interrupts, client.Generate(trip.back),
      [&](GenerateStream& stream) { return view.Follow(stream, recorder); }));
  RETURN_IF_ERROR(recorder.WriteSummary());
  if (!flags.output.json) std::puts(recorder.SummaryText(view.finished()).c_str());
  return absl::OkStatus();
}

ExitCode RunRoundTrip(const GenerateFlags& flags) {
  const bool json = flags.output.json;
  Interrupts interrupts;
  // A folder that cannot be written to is reported before the server is asked for anything.
  absl::StatusOr<OutputFolder> folder =
      OpenOutputFolder(flags.output, {.files = {"roundtrip.png"}});
  if (!folder.ok()) return ReportError(folder.status(), json);
  absl::StatusOr<Client> client = MakeClient(flags.connection);
  if (!client.ok()) return ReportError(client.status(), json);
  absl::StatusOr<RoundTrip> trip = Prepare(*client, flags);
  if (!trip.ok()) return ReportError(trip.status(), json, RoundTripTable());

  RoundTripRecorder recorder(*std::move(folder), trip->there.timesteps_size() + 1, trip->steps);
  const absl::Status status = Travel(*client, *std::move(trip), flags, recorder, interrupts);
  if (status.ok()) return kExitOk;
  return ReportEnd(status, interrupts.interrupted(), json, RoundTripTable());
}

}  // namespace

Command AddRoundTripCommand(CLI::App& app) {
  const auto flags = std::make_shared<GenerateFlags>();
  AddRoundTripFlags(app, *flags);
  SetExamples(app, kExamples);
  return [flags] { return RunRoundTrip(*flags); };
}

}  // namespace denoise
