// What a rank other than the leader does in a group.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "core/ranks/rank_group.h"
#include "core/train/trainer.h"

namespace denoise {

// Trains what the leader of `group` says until one of them ends it. `on_step` is called after each
// step. OK: the job is finished. Cancelled: the leader has ended the run for now. Other errors are
// those of ReceiveRun and of Trainer. Records gradients on the calling thread.
absl::Status FollowRun(std::shared_ptr<RankGroup> group, at::Device device,
                       const std::function<void(const StepReport&)>& on_step);

}  // namespace denoise
