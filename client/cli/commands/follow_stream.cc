#include "client/cli/commands/follow_stream.h"

#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/time/clock.h"
#include "client/cli/display/terminal.h"
#include "client/cli/display/text.h"
#include "client/client.h"
#include "core/base/error_details.h"

namespace denoise {
namespace {

using denoised::v1::DiffuseEvent;
using denoised::v1::GenerateEvent;
using denoised::v1::TrainingEvent;
using nlohmann::ordered_json;

constexpr absl::Duration kLineInterval = absl::Seconds(10);

// The members of events that hold pictures.
constexpr std::pair<const char*, const char*> kPictures[] = {
    {"frame", "image"},
    {"image", "image"},
    {"sample_grid", "image"},
    {"evaluation", "nearest_neighbours_sheet"}};

// `event` has no image bytes.
std::string ToJson(const google::protobuf::Message& event, const WrittenFile& file) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  // Fails only for times out of range, which a correct server does not send; what was written
  // before that stands.
  (void)google::protobuf::util::MessageToJsonString(event, &text, options);
  ordered_json json = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) json = ordered_json::object();
  for (const auto& [event_kind, field] : kPictures) {
    if (!json.contains(event_kind) || !json[event_kind].contains(field)) continue;
    ordered_json& image = json[event_kind][field];
    image.erase("data");
    if (file.path.empty()) continue;
    image["path"] = file.path;
    image["size_bytes"] = file.size_bytes;
  }
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

std::unique_ptr<TerminalPicture> DetectPictures(const OutputFlags& flags) {
  if (flags.no_picture || flags.json || !isatty(STDOUT_FILENO)) return nullptr;
  return TerminalPicture::Detect();
}

// A live display would garble the lines for scripts if both went to the same terminal.
bool ShowsProgress(const OutputFlags& flags) {
  return isatty(STDERR_FILENO) && !(flags.json && isatty(STDOUT_FILENO));
}

}  // namespace

absl::StatusOr<OutputFolder> OpenOutputFolder(const OutputFlags& flags, OutputRun run) {
  run.overwrite = flags.overwrite;
  return flags.out.empty() ? OutputFolder::OpenDefault("out", std::move(run))
                           : OutputFolder::Open(flags.out, std::move(run));
}

std::string EventJson(const GenerateEvent& event, const WrittenFile& file) {
  GenerateEvent without_bytes = event;
  if (event.has_frame()) without_bytes.mutable_frame()->mutable_image()->clear_data();
  if (event.has_image()) without_bytes.mutable_image()->mutable_image()->clear_data();
  if (event.has_handover()) without_bytes.mutable_handover()->clear_token();
  return ToJson(without_bytes, file);
}

std::string EventJson(const DiffuseEvent& event, const WrittenFile& file) {
  DiffuseEvent without_bytes = event;
  if (event.has_frame()) without_bytes.mutable_frame()->mutable_image()->clear_data();
  return ToJson(without_bytes, file);
}

std::string EventJson(const TrainingEvent& event, const WrittenFile& file) {
  TrainingEvent without_bytes = event;
  if (event.has_sample_grid()) without_bytes.mutable_sample_grid()->mutable_image()->clear_data();
  if (event.evaluation().has_nearest_neighbours_sheet()) {
    without_bytes.mutable_evaluation()->mutable_nearest_neighbours_sheet()->clear_data();
  }
  return ToJson(without_bytes, file);
}

GenerationView::GenerationView(const OutputFlags& flags)
    : json_(flags.json),
      last_line_(absl::Now()),
      display_(ShowsProgress(flags), DetectPictures(flags)) {}

void GenerationView::Accept(const GenerateEvent& accepted) {
  progress_.Update(accepted, absl::Now());
}

void ReportContinues(const std::string& generation) {
  const std::string id = Printable(ShortGenerationName(generation));
  std::fprintf(stderr,
               "  The generation continues. `denoise watch %s` follows it;\n"
               "  `denoise generations cancel %s` ends it.\n",
               id.c_str(), id.c_str());
}

bool ReportPaused(const absl::Status& status) {
  if (GetErrorReason(status) != "GENERATION_PAUSED") return false;
  std::fputs(
      "  To continue it: denoise generate --resume FILE, with the file that the latest `denoise "
      "generations pause` wrote\n",
      stderr);
  return true;
}

void GenerationView::Show(const denoised::v1::GenerateEvent& event, const PictureHistory* history) {
  const absl::Time now = absl::Now();
  last_sequence_ = event.sequence();
  progress_.Update(event, now);
  const bool is_due = now - last_line_ >= kLineInterval && event.has_progress();
  if (!json_ && !display_.shown() && (is_due || event.has_handover())) {
    last_line_ = now;
    std::fprintf(stderr, "%s\n", progress_.Text().c_str());
  }
  if (event.has_queued() || event.has_started() || event.has_handover()) {
    display_.Draw(progress_, history);
  } else {
    display_.Update(progress_, history, absl::Now());
  }
  if (event.has_finished()) finished_ = event.finished();
}

}  // namespace denoise
