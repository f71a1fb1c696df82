#include "client/cli/display/resource_text.h"

#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "client/cli/display/text.h"
#include "client/cli/flags/field_words.h"
#include "client/cli/flags/message_flags.h"
#include "client/cli/flags/training_flags.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::Message;

// The last part of a resource's name.
std::string Short(const std::string& name) {
  return Printable(std::string_view(name).substr(name.rfind('/') + 1));
}

std::string TimestampText(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M", absl::FromUnixSeconds(time.seconds()),
                          absl::LocalTimeZone());
}

std::string EnumText(const EnumValueDescriptor* value) {
  return value == nullptr ? "unknown" : EnumFlagName(*value);
}

std::string StepsText(const v1::TrainingJob& job) {
  return absl::StrCat(job.steps_done(), "/", job.steps_total());
}

std::string GenerationStateText(const v1::Generation& generation) {
  return EnumText(v1::Generation::State_descriptor()->FindValueByNumber(generation.state()));
}

std::string StepsText(const v1::Generation& generation) {
  return absl::StrCat(generation.progress().steps_done(), "/", generation.progress().steps_total());
}

std::string ImagesText(const v1::Generation& generation) {
  return absl::StrCat(generation.progress().images_done(), "/", generation.accepted().count());
}

std::string LossText(const v1::TrainingJob& job) {
  const bool is_known =
      job.has_progress() && job.has_training() && std::isfinite(job.progress().loss());
  return is_known ? absl::StrFormat("%.4f", job.progress().loss()) : "-";
}

const std::string& DatasetOf(const v1::TrainingJob& job) {
  return job.has_evaluation() ? job.evaluation().dataset() : job.training().dataset();
}

// Every setting that is set, a line each, as in the contract.
std::string SettingsText(const Message& settings) {
  std::string text;
  google::protobuf::TextFormat::Printer printer;
  printer.SetInitialIndentLevel(2);
  printer.SetUseShortRepeatedPrimitives(true);
  (void)printer.PrintToString(settings, &text);
  return text;
}

// The numbers of an evaluation, each with its name.
std::vector<std::string> EvaluationTexts(const v1::EvaluationResult& result) {
  std::vector<std::string> texts = {
      absl::StrFormat("Frechet distance %.4g", result.frechet_distance()),
      absl::StrFormat("precision %.3f", result.precision()),
      absl::StrFormat("recall %.3f", result.recall()),
      absl::StrFormat("density %.3f", result.density()),
      absl::StrFormat("coverage %.3f", result.coverage()),
      absl::StrFormat("memorised %.3f", result.memorisation_rate())};
  if (result.has_bits_per_dim()) {
    texts.push_back(absl::StrFormat("%.4f bits/dim", result.bits_per_dim()));
  }
  return texts;
}

std::string StateChangeText(const v1::StateChange& change) {
  const std::string state = StateText(change.state());
  return change.reason().empty() ? state
                                 : absl::StrCat(state, ": ", StateReasonText(change.reason()));
}

std::string ProgressText(const v1::TrainingProgress& progress) {
  const auto text = [](double value, const auto& format) {
    return std::isfinite(value) ? absl::StrFormat(format, value) : "not finite";
  };
  return absl::StrFormat("step %d  loss %s  learning rate %.3g  gradient norm %s  %.1f images/s",
                         progress.step(), text(progress.loss(), absl::ParsedFormat<'f'>("%.5f")),
                         progress.learning_rate(),
                         text(progress.gradient_norm(), absl::ParsedFormat<'g'>("%.3g")),
                         progress.pictures_per_second());
}

std::string ReportText(const v1::DatasetReport& report) {
  std::string text = absl::StrCat("\n  pictures          ", report.pictures());
  if (report.unreadable_files() > 0) {
    absl::StrAppend(&text, "\n  unreadable files  ", report.unreadable_files());
    for (const auto& file : report.unreadable_examples()) {
      absl::StrAppend(&text, "\n    ", Printable(file.file()), ": ", Printable(file.reason()));
    }
  }
  absl::StrAppend(&text, "\n  near-duplicates   ", report.near_duplicates());
  absl::StrAppend(&text, "\n  sizes             ", report.distinct_sizes());
  for (const auto& size : report.sizes()) {
    absl::StrAppendFormat(&text, "\n    %6d  %d x %d", size.pictures(), size.width(),
                          size.height());
  }
  for (int i = 0; i < report.channel_statistics_size(); ++i) {
    constexpr const char* kNames[] = {"red  ", "green", "blue "};
    if (i >= 3) break;
    absl::StrAppendFormat(&text, "\n  %s             mean %+.3f, deviation %.3f", kNames[i],
                          report.channel_statistics(i).mean(),
                          report.channel_statistics(i).standard_deviation());
  }
  if (report.classes().empty()) return text + "\n  classes           none";
  absl::StrAppendFormat(&text, "\n  classes           %d, the largest %.1f times the smallest",
                        report.classes_size(), report.class_imbalance());
  for (int i = 0; i < report.classes_size(); ++i) {
    absl::StrAppendFormat(&text, "\n    %4d  %6d  %s", i, report.classes(i).pictures(),
                          Printable(report.classes(i).display_name()));
  }
  return text;
}

bool SameNetwork(const v1::TrainingSettings& a, const v1::TrainingSettings& b) {
  return a.precision() == b.precision() && a.base_model() == b.base_model() &&
         google::protobuf::util::MessageDifferencer::Equals(a.new_network(), b.new_network());
}

}  // namespace

std::string MessageJson(const Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  return json;
}

bool IsOver(const v1::TrainingJob& job) {
  return job.state() == v1::TrainingJob::SUCCEEDED || job.state() == v1::TrainingJob::FAILED ||
         job.state() == v1::TrainingJob::CANCELLED;
}

std::string StateText(v1::TrainingJob::State state) {
  return EnumText(v1::TrainingJob::State_descriptor()->FindValueByNumber(state));
}

std::string StateReasonText(const std::string& reason) {
  return Printable(WithFlagNames(TrainingFlags(), reason));
}

std::string EventText(const v1::TrainingEvent& event, bool evaluates) {
  switch (event.event_case()) {
    case v1::TrainingEvent::kStateChange:
      return StateChangeText(event.state_change());
    case v1::TrainingEvent::kProgress:
      return evaluates ? absl::StrCat(event.progress().step(), " pictures")
                       : ProgressText(event.progress());
    case v1::TrainingEvent::kSampleGrid:
      return absl::StrCat("step ", event.sample_grid().step(), "  samples");
    case v1::TrainingEvent::kCheckpoint:
      return absl::StrCat("step ", event.checkpoint().step(), "  checkpoint, ",
                          BytesText(event.checkpoint().size_bytes()));
    case v1::TrainingEvent::kEvaluation:
      return absl::StrCat(evaluates ? "" : absl::StrCat("step ", event.evaluation().step(), "  "),
                          absl::StrJoin(EvaluationTexts(event.evaluation()), "  "));
    case v1::TrainingEvent::kPublished:
      return absl::StrCat("published as ", Short(event.published().model()), ", version ",
                          Printable(event.published().model_version()));
    case v1::TrainingEvent::kNotice:
      return StateReasonText(event.notice());  // a roll-back has the same reasons as a failure
    case v1::TrainingEvent::EVENT_NOT_SET:
      break;
  }
  return "";
}

std::string JobLine(const v1::TrainingJob& job) {
  const std::string name = Short(job.name());
  std::string line = absl::StrCat("job ", name, " ");
  switch (job.state()) {
    case v1::TrainingJob::CANCELLING:
      return line + "is being cancelled";
    case v1::TrainingJob::SUCCEEDED:
      return line + "has succeeded";
    case v1::TrainingJob::FAILED:
      line += "has failed";
      break;
    default:
      absl::StrAppend(&line, "is ", StateText(job.state()));
  }
  absl::StrAppend(&line, " at ", job.has_evaluation() ? "picture " : "step ", job.steps_done(),
                  " of ", job.steps_total());
  if (!job.state_reason().empty()) {
    absl::StrAppend(&line, ": ", StateReasonText(job.state_reason()));
  }
  if (job.state() == v1::TrainingJob::PAUSED) {
    absl::StrAppend(&line, "; `denoise train resume ", name, "` continues it");
  }
  return line;
}

std::string PausingJobLine(const v1::TrainingJob& job) {
  if (job.state() != v1::TrainingJob::RUNNING) return JobLine(job);
  return absl::StrCat("job ", Short(job.name()),
                      " is still running; it pauses as soon as it has saved a checkpoint");
}

std::string GenerationLine(const v1::Generation& generation) {
  const bool cancelling = generation.state() == v1::Generation::CANCELLING;
  return absl::StrCat("generation ", Short(generation.name()), " is ",
                      cancelling ? "being cancelled" : GenerationStateText(generation), " after ",
                      ImagesText(generation), " images");
}

std::string PausedText(const v1::PauseGenerationResponse& paused, const std::string& command) {
  return absl::StrCat(GenerationLine(paused.generation()), " and ", StepsText(paused.generation()),
                      " steps\n  until ", TimestampText(paused.expire_time()),
                      " this continues it: ", command);
}

std::string TrainingEstimate(const v1::TrainingJob& job, const v1::TrainingJob& other) {
  const v1::TrainingSettings& settings = job.training();
  const double rate = other.progress().pictures_per_second();
  if (job.name() == other.name() || !other.has_training() || !(rate > 0) ||
      !SameNetwork(settings, other.training())) {
    return "";
  }
  const double pictures =
      static_cast<double>(job.steps_total()) * static_cast<double>(settings.batch_size());
  double seconds = pictures / rate;
  if (settings.has_max_duration()) seconds = std::min(seconds, SecondsOf(settings.max_duration()));
  return absl::StrFormat("about %s of training, at the %.1f images/s of job %s",
                         TimeText(absl::Seconds(seconds)), rate, Short(other.name()));
}

std::string JobTable(const std::vector<v1::TrainingJob>& jobs) {
  std::vector<std::vector<std::string>> rows = {
      {"JOB", "KIND", "STATE", "STEPS", "LOSS", "DATA SET", "CREATED"}};
  for (const v1::TrainingJob& job : jobs) {
    rows.push_back({Short(job.name()), job.has_evaluation() ? "evaluation" : "training",
                    StateText(job.state()), StepsText(job), LossText(job), Short(DatasetOf(job)),
                    TimestampText(job.create_time())});
  }
  std::string text = FormatTable(rows);
  for (const v1::TrainingJob& job : jobs) {
    if (!IsOver(job) && !job.state_reason().empty()) absl::StrAppend(&text, "\n", JobLine(job));
  }
  return text;
}

std::string JobSummary(const v1::TrainingJob& job) {
  std::string text = absl::StrCat(Short(job.name()), "\n  state       ", StateText(job.state()));
  if (!job.state_reason().empty())
    absl::StrAppend(&text, ": ", StateReasonText(job.state_reason()));
  absl::StrAppend(&text, "\n  steps       ", StepsText(job));
  if (job.has_progress() && job.has_training()) {
    absl::StrAppend(&text, "\n  progress    ", ProgressText(job.progress()));
  }
  absl::StrAppend(&text, "\n  created     ", TimestampText(job.create_time()), "\n  started     ",
                  TimestampText(job.start_time()), "\n  ended       ",
                  TimestampText(job.end_time()));
  if (!job.latest_checkpoint().empty()) {
    absl::StrAppend(&text, "\n  checkpoint  ", Short(job.latest_checkpoint()));
  }
  if (job.has_evaluation_result()) {
    absl::StrAppend(&text, "\n  evaluation  ",
                    absl::StrJoin(EvaluationTexts(job.evaluation_result()), "\n              "));
  }
  for (const auto& [key, value] : job.labels()) {
    absl::StrAppend(&text, "\n  label       ", Printable(key), "=", Printable(value));
  }
  return text;
}

std::string JobDetails(const v1::TrainingJob& job) {
  const Message& settings = job.has_evaluation() ? static_cast<const Message&>(job.evaluation())
                                                 : static_cast<const Message&>(job.training());
  std::string text = absl::StrCat(JobSummary(job), "\n  settings\n", SettingsText(settings));
  text.pop_back();
  return text;
}

std::string CheckpointTable(const std::vector<v1::Checkpoint>& checkpoints) {
  std::vector<std::vector<std::string>> rows = {{"STEP", "SIZE", "CREATED"}};
  for (const v1::Checkpoint& checkpoint : checkpoints) {
    rows.push_back({absl::StrCat(checkpoint.step()), BytesText(checkpoint.size_bytes()),
                    TimestampText(checkpoint.create_time())});
  }
  return FormatTable(rows);
}

std::string DatasetTable(const std::vector<v1::Dataset>& datasets) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "STATE", "PICTURES", "CLASSES", "UPLOAD", "STORED", "CREATED"}};
  for (const v1::Dataset& dataset : datasets) {
    rows.push_back({Short(dataset.name()),
                    EnumText(v1::Dataset::State_descriptor()->FindValueByNumber(dataset.state())),
                    absl::StrCat(dataset.report().pictures()),
                    absl::StrCat(dataset.report().classes_size()), BytesText(dataset.total_bytes()),
                    BytesText(dataset.stored_bytes()), TimestampText(dataset.create_time())});
  }
  return FormatTable(rows);
}

std::string DatasetDetails(const v1::Dataset& dataset) {
  std::string text =
      absl::StrCat(Short(dataset.name()), "\n  state             ",
                   EnumText(v1::Dataset::State_descriptor()->FindValueByNumber(dataset.state())));
  if (!dataset.error().empty()) absl::StrAppend(&text, ": ", Printable(dataset.error()));
  absl::StrAppend(&text, "\n  received          ", BytesText(dataset.received_bytes()), " of ",
                  BytesText(dataset.total_bytes()));
  if (dataset.stored_bytes() > 0) {
    absl::StrAppend(&text, "\n  stored            ", BytesText(dataset.stored_bytes()));
  }
  return dataset.has_report() ? text + ReportText(dataset.report()) : text;
}

std::string GenerationTable(const std::vector<v1::Generation>& generations) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "STATE", "MODEL", "STEPS", "IMAGES", "READERS", "CREATED", "KEPT UNTIL"}};
  for (const v1::Generation& generation : generations) {
    rows.push_back({Short(generation.name()), GenerationStateText(generation),
                    Short(generation.accepted().model()), StepsText(generation),
                    ImagesText(generation), absl::StrCat(generation.readers()),
                    TimestampText(generation.create_time()),
                    TimestampText(generation.expire_time())});
  }
  return FormatTable(rows);
}

std::string GenerationDetails(const v1::Generation& generation) {
  const v1::Accepted& accepted = generation.accepted();
  const auto* on_disconnect =
      v1::OnDisconnect_descriptor()->FindValueByNumber(generation.on_disconnect());
  std::string text = absl::StrCat(Short(generation.name()), "\n  state          ",
                                  GenerationStateText(generation));
  if (!generation.error().empty()) absl::StrAppend(&text, ": ", Printable(generation.error()));
  absl::StrAppend(&text, "\n  model          ", Short(accepted.model()), "\n  seed           ",
                  accepted.seed(), "\n  steps          ", StepsText(generation),
                  "\n  images         ", ImagesText(generation));
  absl::StrAppend(&text, "\n  readers        ", generation.readers(), "\n  on disconnect  ",
                  EnumText(on_disconnect), "\n  last event     ", generation.last_sequence());
  absl::StrAppend(&text, "\n  created        ", TimestampText(generation.create_time()),
                  "\n  started        ", TimestampText(generation.start_time()),
                  "\n  ended          ", TimestampText(generation.end_time()),
                  "\n  kept until     ", TimestampText(generation.expire_time()));
  return text;
}

std::string ResourceJson(v1::TrainingJob job) {
  if (job.has_evaluation_result()) {
    job.mutable_evaluation_result()->mutable_nearest_neighbours_sheet()->clear_data();
  }
  return MessageJson(job);
}

std::string ResourceJson(v1::Dataset dataset) {
  if (dataset.has_report()) dataset.mutable_report()->mutable_contact_sheet()->clear_data();
  return MessageJson(dataset);
}

std::string ResourceJson(const v1::Checkpoint& checkpoint) { return MessageJson(checkpoint); }

std::string ResourceJson(const v1::Generation& generation) { return MessageJson(generation); }

std::string ResourceJson(v1::PauseGenerationResponse paused) {
  paused.clear_token();
  return MessageJson(paused);
}

}  // namespace denoise
