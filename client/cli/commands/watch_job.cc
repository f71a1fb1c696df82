#include "client/cli/commands/watch_job.h"

#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/follow_stream.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/commands/reconnector.h"
#include "client/cli/display/job_display.h"
#include "client/cli/display/job_history.h"
#include "client/cli/display/received_image.h"
#include "client/cli/display/resource_text.h"
#include "client/cli/display/text.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

void PrintLine(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);
}

// Numbers of jobs begin again with another state directory.
std::string RunName(const v1::TrainingJob& job) {
  return absl::StrCat(job.name(), " of ", job.create_time().seconds());
}

// Whether a watch that the user did not interrupt ended because the server did. A server that shuts
// down first refuses calls and finally cancels those that it has not got to.
bool ServerIsAway(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsCancelled(status);
}

// The files of a job: every sample grid, the sheets of evaluations, and the loss as a table and a
// picture.
class JobRecorder {
 public:
  explicit JobRecorder(std::optional<OutputFolder> folder) : folder_(std::move(folder)) {}

  // Writes the picture of the event; the path is empty if it has none.
  absl::StatusOr<WrittenFile> Record(const v1::TrainingEvent& event) {
    if (!folder_) return WrittenFile{};
    if (event.has_sample_grid()) {
      return Write("samples", event.sample_grid().step(), event.sample_grid().image());
    }
    if (event.has_evaluation() && event.evaluation().has_nearest_neighbours_sheet()) {
      return Write("nearest-neighbours", event.evaluation().step(),
                   event.evaluation().nearest_neighbours_sheet());
    }
    return WrittenFile{};
  }

  absl::Status WriteLosses(const JobHistory& history) {
    if (!folder_ || history.losses().empty()) return absl::OkStatus();
    std::string table = "step,loss\n";
    for (const LossPoint& point : history.losses()) {
      absl::StrAppendFormat(&table, "%d,%.9g\n", point.step, point.loss);
    }
    RETURN_IF_ERROR(folder_->Write("loss.csv", table).status());
    const auto chart = DrawLoss(history.losses(), "loss", FileKind::kPng, {});
    return chart.ok() ? folder_->Write("loss.png", *chart).status() : absl::OkStatus();
  }

 private:
  absl::StatusOr<WrittenFile> Write(const char* what, int64_t step, const v1::Image& image) {
    ASSIGN_OR_RETURN(const ReceivedImage received, ReceiveImage(image));
    return folder_->Write(absl::StrFormat("%s-step-%08d.%s", what, step, received.extension),
                          received.file_bytes);
  }

  std::optional<OutputFolder> folder_;
};

std::unique_ptr<TerminalPicture> DetectPictures(const WatchOptions& options) {
  if (options.no_picture || options.json || !isatty(STDOUT_FILENO)) return nullptr;
  return TerminalPicture::Detect();
}

// One watch, over as many streams as it takes.
class Watch {
 public:
  Watch(const v1::TrainingJob& job, const WatchOptions& options, JobRecorder recorder)
      : name_(job.name()),
        evaluates_(job.has_evaluation()),
        options_(options),
        last_sequence_(options.resume_after),
        history_(job),
        recorder_(std::move(recorder)),
        display_(isatty(STDERR_FILENO) && !options.json, DetectPictures(options)) {}

  absl::Status Run(TrainingClient& client, Interrupts& interrupts) {
    Reconnector reconnector(interrupts);
    absl::Status status;
    do {
      status = Follow(client, interrupts, reconnector);
    } while (ServerIsAway(status) && reconnector.Wait([this] { display_.Close(); }));
    interrupts.SetHandler(nullptr);
    if (display_.shown()) display_.Draw(history_);
    display_.Close();
    const absl::Status written = recorder_.WriteLosses(history_);
    return status.ok() ? written : status;
  }

 private:
  absl::Status Follow(TrainingClient& client, Interrupts& interrupts, Reconnector& reconnector) {
    TrainingStream stream = client.Watch(name_, last_sequence_);
    interrupts.SetHandler([&stream] { stream.Cancel(); });
    const absl::Status status =
        interrupts.interrupted() ? absl::CancelledError() : Take(stream, reconnector);
    interrupts.SetHandler([] {});  // Run checks between streams
    return status;
  }

  absl::Status Take(TrainingStream& stream, Reconnector& reconnector) {
    while (true) {
      ASSIGN_OR_RETURN(const std::optional<v1::TrainingEvent> event, stream.Next());
      if (!event.has_value()) return absl::OkStatus();
      last_sequence_ = event->sequence();
      reconnector.OnEvent();
      RETURN_IF_ERROR(history_.Add(*event));
      ASSIGN_OR_RETURN(const WrittenFile file, recorder_.Record(*event));
      Show(*event, file);
    }
  }

  // Prints only what the live display does not show.
  void Show(const v1::TrainingEvent& event, const WrittenFile& file) {
    if (options_.json) return PrintLine(EventJson(event, file));
    if (!display_.shown()) return PrintLine(TextWithTimeLeft(event));
    const bool in_display = event.has_progress() || event.has_sample_grid() ||
                            event.has_checkpoint() || event.has_state_change() ||
                            (event.has_evaluation() && evaluates_);  // shown at the end
    if (!in_display) {
      display_.Close();
      PrintLine(EventText(event, evaluates_));
    }
    // Progress comes often and may be skipped; anything else may be the last event for long.
    if (event.has_progress()) return display_.Update(history_, absl::Now());
    display_.Draw(history_);
  }

  std::string TextWithTimeLeft(const v1::TrainingEvent& event) const {
    std::string text = EventText(event, evaluates_);
    if (event.has_progress() && history_.time_left()) {
      absl::StrAppend(&text, "  ", TimeText(*history_.time_left()), " left");
    }
    return text;
  }

  const std::string name_;
  const bool evaluates_;
  const WatchOptions options_;
  int64_t last_sequence_;
  JobHistory history_;
  JobRecorder recorder_;
  JobDisplay display_;
};

}  // namespace

absl::StatusOr<std::optional<OutputFolder>> OpenJobFolder(const WatchOptions& options,
                                                          const v1::TrainingJob* job) {
  if (options.out.empty()) return std::nullopt;
  OutputRun run = {.overwrite = options.overwrite, .continues = true, .files = {"loss.csv"}};
  if (job != nullptr) run.name = RunName(*job);
  ASSIGN_OR_RETURN(OutputFolder folder, OutputFolder::Open(options.out, std::move(run)));
  return folder;
}

void AnnounceJob(const v1::TrainingJob& job) {
  PrintLine(absl::StrCat(JobLine(job), "; `denoise train watch ",
                         Printable(ShortTrainingJobName(job.name())), "` follows it"));
}

absl::Status WatchJob(TrainingClient& client, const v1::TrainingJob& job,
                      const WatchOptions& options, std::optional<OutputFolder> folder,
                      Interrupts& interrupts) {
  if (folder) folder->SetRunName(RunName(job));
  return Watch(job, options, JobRecorder(std::move(folder))).Run(client, interrupts);
}

ExitCode ReportEnd(TrainingClient& client, const std::string& job, const absl::Status& watched,
                   const WatchOptions& options, const Interrupts& interrupts) {
  if (interrupts.interrupted() && absl::IsCancelled(watched)) {
    const std::string name = Printable(ShortTrainingJobName(job));
    std::fprintf(stderr,
                 "denoise: stopped watching; the job keeps running. `denoise train watch %s` "
                 "follows it again,\n"
                 "  `denoise train cancel %s` ends it.\n",
                 name.c_str(), name.c_str());
    if (options.json) std::puts(ErrorJson(absl::CancelledError("interrupted")).c_str());
    return kExitInterrupted;
  }
  if (!watched.ok()) return ReportError(watched, options.json);
  const absl::StatusOr<v1::TrainingJob> end = client.GetJob(job);
  if (!end.ok()) return ReportError(end.status(), options.json);
  if (!options.json) PrintLine(JobSummary(*end));
  return end->state() == v1::TrainingJob::SUCCEEDED ? kExitOk : kExitFailed;
}

}  // namespace denoise
