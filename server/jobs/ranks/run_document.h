// What the leader of a run tells the other ranks before the first step.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/io/parsed_model.h"
#include "core/ranks/rank_group.h"
#include "core/train/trainer.h"
#include "denoised/v1/training_settings.pb.h"

namespace denoise {

struct RunDocument {
  denoised::v1::TrainingSettings settings;  // resolved
  ModelTexts model;
  int64_t pictures = 0;                   // in the data set
  std::optional<int64_t> rolled_back_to;  // see Trainer::Setup
  TrainingSnapshot snapshot;              // where the run begins
};

// What the ranks of a run must have in common, for people: ranks of different versions could
// compute different things. Changes with what is sent, too.
std::string RankVersion();

// The leader's. Returns once every other rank has received it and is ready for the first step
// (RankGroup::ReportReady), for which they get ten minutes: they prepare their devices. Errors are
// the group's; Cancelled: `stopped`.
absl::Status SendRun(const RunDocument& run, RankGroup& group, const Stopped& stopped);

// InvalidArgument: the leader has sent something else.
absl::StatusOr<RunDocument> ReceiveRun(RankGroup& group);

}  // namespace denoise
