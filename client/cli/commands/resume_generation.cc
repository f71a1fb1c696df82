#include "client/cli/commands/resume_generation.h"

#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/commands/follow_stream.h"
#include "client/cli/commands/generation_recorder.h"
#include "client/cli/commands/interrupts.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/display/text.h"
#include "client/client.h"
#include "core/base/field_violations.h"
#include "core/base/read_file.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

// As much as gRPC sends in one message.
constexpr size_t kMaxTokenBytes = (size_t{2} << 30) - 1;

// For errors of the server.
const FlagTable& ResumeTable() {
  static const auto* const table = new FlagTable{{"--resume", "handover", "The token"}};
  return *table;
}

absl::StatusOr<v1::GenerateRequest> ReadToken(const std::string& path) {
  absl::StatusOr<std::string> token = ReadFile(path, kMaxTokenBytes);
  if (!token.ok()) {
    return InvalidField("--resume", absl::StrCat(token.status().message(),
                                                 ". Give it the file that `denoise generations "
                                                 "pause` has written"));
  }
  v1::GenerateRequest request;
  request.set_handover(*std::move(token));
  return request;
}

// The token holds the request, so nothing else may be said of it.
absl::Status CheckAlone(const GivenFlags& given) {
  FieldViolations violations;
  for (const auto& [field, texts] : given) {
    violations.Add(FlagOf(GenerateTable(), field), "must be absent: --resume holds the request");
  }
  return violations.ToStatus();
}

// The first event, which says what the token asks for.
absl::StatusOr<v1::GenerateEvent> Accepted(GenerateStream& stream) {
  ASSIGN_OR_RETURN(std::optional<v1::GenerateEvent> event, stream.Next());
  if (event && event->has_accepted()) return *std::move(event);
  return absl::InternalError("the server did not say what it accepted");
}

// Takes events until the stream ends.
absl::Status Follow(const GenerateFlags& flags, GenerateStream& stream,
                    const v1::GenerateEvent& accepted, GenerationRecorder& recorder) {
  GenerationView view(flags.output);
  ASSIGN_OR_RETURN(const WrittenFile file, recorder.Record(accepted));
  if (flags.output.json) std::puts(EventJson(accepted, file).c_str());
  view.Accept(accepted);
  RETURN_IF_ERROR(view.Follow(stream, recorder));
  const bool has_all = recorder.files().images == accepted.accepted().count();
  if (has_all) RETURN_IF_ERROR(recorder.WriteSummary());
  if (!flags.output.json) std::puts(recorder.SummaryText(view.finished()).c_str());
  return absl::OkStatus();
}

absl::Status Run(const GenerateFlags& flags, Interrupts& interrupts) {
  RETURN_IF_ERROR(CheckAlone(flags.given));
  if (flags.output.overwrite) {
    return InvalidField("--overwrite",
                        "must be absent: the images that were made before the pause would be "
                        "removed, and they are not sent again. Choose another --out");
  }
  ASSIGN_OR_RETURN(const v1::GenerateRequest request, ReadToken(flags.resume));
  ASSIGN_OR_RETURN(OutputFolder folder, OpenOutputFolder(flags.output, {}));
  ASSIGN_OR_RETURN(Client client, MakeClient(flags.connection));
  GenerateStream stream = client.Generate(request);
  interrupts.SetHandler([&stream] { stream.Cancel(); });
  const absl::StatusOr<v1::GenerateEvent> accepted = Accepted(stream);
  absl::Status status = accepted.status();
  if (status.ok()) {
    GenerationRecorder recorder(std::move(folder), RequestOf(accepted->accepted()));
    status = Follow(flags, stream, *accepted, recorder);
  }
  interrupts.SetHandler(nullptr);
  return status;
}

}  // namespace

ExitCode ResumeGeneration(const GenerateFlags& flags) {
  Interrupts interrupts;
  const absl::Status status = Run(flags, interrupts);
  if (status.ok()) return kExitOk;
  const ExitCode code =
      ReportEnd(status, interrupts.interrupted(), flags.output.json, ResumeTable());
  ReportPaused(status);
  return code;
}

}  // namespace denoise
