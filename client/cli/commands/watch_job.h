// Follows a job until it is over.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/interrupts.h"
#include "client/training_client.h"

namespace denoise {

struct WatchOptions {
  std::filesystem::path out;  // where grids, sheets and the loss are written; empty: nowhere
  bool json = false;
  bool no_picture = false;
  int64_t resume_after = 0;  // events up to this sequence number are left out
};

// Shows the events of `job` as they come: in a terminal a live picture, elsewhere a line each. Goes on
// by itself when the server is away for a while. Ends OK when the job does, however that is; CANCELLED
// when interrupted, which leaves the job alone.
absl::Status WatchJob(TrainingClient& client, const denoised::v1::TrainingJob& job,
                      const WatchOptions& options, Interrupts& interrupts);

// What the end of a watch means for whoever started the command: a job that FAILED is a failure.
ExitCode ReportEnd(TrainingClient& client, const std::string& job, const absl::Status& watched,
                   const WatchOptions& options, const Interrupts& interrupts);

}  // namespace denoise
