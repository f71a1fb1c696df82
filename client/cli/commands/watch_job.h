// Follows a job until it ends.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/interrupts.h"
#include "client/cli/commands/output_folder.h"
#include "client/training_client.h"

namespace denoise {

struct WatchOptions {
  std::filesystem::path out;  // the folder for grids, sheets and the loss; empty: none
  bool overwrite = false;     // files of another job in it
  bool json = false;
  bool no_picture = false;
  int64_t resume_after = 0;  // skips events up to this sequence number
};

// The folder of the options, if there is one, for `job`, or for a job that does not exist yet.
absl::StatusOr<std::optional<OutputFolder>> OpenJobFolder(
    const WatchOptions& options, const denoised::v1::TrainingJob* job = nullptr);

// Prints the job that was created, before watching it: to come back later, users need its number.
void AnnounceJob(const denoised::v1::TrainingJob& job);

// Shows the events of `job` as they arrive: live in a terminal, elsewhere as a line each.
// Reconnects if the server goes away for a while. Returns OK when the job ends, however it ends,
// and CANCELLED if the user interrupts, which does not affect the job.
absl::Status WatchJob(TrainingClient& client, const denoised::v1::TrainingJob& job,
                      const WatchOptions& options, std::optional<OutputFolder> folder,
                      Interrupts& interrupts);

// Reports the end of a watch. A job that FAILED is a failure of the command.
ExitCode ReportEnd(TrainingClient& client, const std::string& job, const absl::Status& watched,
                   const WatchOptions& options, const Interrupts& interrupts);

}  // namespace denoise
