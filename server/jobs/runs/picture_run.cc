#include "server/jobs/runs/picture_run.h"

#include <ATen/ops/stack.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "core/base/check.h"
#include "core/diffusion/row_batch.h"

namespace denoise {

std::vector<Conditioning> SpreadOverClasses(const NetworkSpec& network,
                                            std::optional<int64_t> null_class_label,
                                            double guidance_scale) {
  std::vector<Conditioning> conditionings;
  for (int64_t label = 0; label < network.num_class_embeds; ++label) {
    if (label == null_class_label) continue;
    conditionings.push_back({.class_weights = {{.class_label = label}},
                             .null_class_label = null_class_label,
                             .guidance = {.scale = guidance_scale}});
  }
  if (conditionings.empty()) conditionings.emplace_back();
  return conditionings;
}

PictureRun::PictureRun(std::shared_ptr<const Network> network, PictureOrder order, int max_rows)
    : network_(std::move(network)), order_(std::move(order)), max_rows_(max_rows) {
  DENOISE_DCHECK(!order_.conditionings.empty() && order_.count >= 1);
}

at::Tensor PictureRun::RunSlice() {
  DENOISE_DCHECK(!done());
  const c10::InferenceMode inference;
  if (group_.empty()) BeginGroup();
  std::vector<Trajectory*> rows;
  for (Trajectory& trajectory : group_) rows.push_back(&trajectory);
  RowBatch batch(std::move(rows), *network_);
  batch.Update(network_->Forward(batch.input()));
  if (!group_.front().done()) return {};  // they have one plan, and move together
  std::vector<at::Tensor> pictures;
  for (const Trajectory& trajectory : group_) pictures.push_back(trajectory.x());
  group_.clear();
  return at::stack(pictures);
}

void PictureRun::BeginGroup() {
  int rows = 0;
  while (next_ < order_.count) {
    const Conditioning& conditioning = order_.conditionings[next_ % order_.conditionings.size()];
    rows += MaxRows(conditioning, *order_.plan);
    if (rows > max_rows_ && !group_.empty()) return;
    group_.emplace_back(order_.plan, conditioning, order_.seed + static_cast<uint64_t>(next_),
                        *network_);
    ++next_;
  }
}

}  // namespace denoise
