#include "core/diffusion/row_batch.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>
#include <variant>

#include "core/diffusion/learned_variance.h"

namespace denoise {
namespace {

// The quantile `ratio` of a list, between two values linearly. It is at::quantile's, which does the
// same in float32 but refuses more than 16,777,216 values. Ranks beyond those are rounded.
at::Tensor Quantile(const at::Tensor& values, double ratio) {
  const at::Tensor sorted = std::get<0>(values.sort());
  const int64_t last = sorted.size(0) - 1;
  const float rank = static_cast<float>(ratio) * static_cast<float>(last);
  const int64_t below = std::min(static_cast<int64_t>(rank), last);
  const int64_t above = std::min(static_cast<int64_t>(std::ceil(rank)), last);
  return at::lerp(sorted[below], sorted[above], rank - static_cast<float>(below));
}

// The standard deviation of learned noise; `v` is the network's second half, blended as its
// conditional rows are.
at::Tensor LearnedDeviation(const NoiseScale& scale, const at::Tensor& v) {
  if (std::holds_alternative<LearnedVariance>(scale)) return v.sqrt();
  const auto& range = std::get<LearnedRange>(scale);
  return (0.5 * LearnedRangeLogVariance(v, range.log_variance_min, range.log_variance_max)).exp();
}

bool IsLearned(const NoiseScale& scale) { return !std::holds_alternative<double>(scale); }

}  // namespace

at::Tensor ApplyDynamicThreshold(const at::Tensor& x0, const DynamicThreshold& threshold) {
  const at::Tensor s = Quantile(x0.abs().flatten(), threshold.ratio).clamp(1, threshold.max_value);
  return at::minimum(at::maximum(x0, -s), s) / s;
}

std::vector<UpdateGroup> GroupForUpdate(const std::vector<Trajectory*>& trajectories,
                                        at::Device device) {
  std::map<UpdateShape, std::vector<int64_t>> members;
  UpdateShape largest;
  for (size_t i = 0; i < trajectories.size(); ++i) {
    const UpdateShape shape = UpdateShapeOf(*trajectories[i]);
    largest = {.slots = std::max(largest.slots, shape.slots),
               .rows = std::max(largest.rows, shape.rows),
               .noise = largest.noise || shape.noise};
    members[device.is_cpu() ? shape : UpdateShape()].push_back(static_cast<int64_t>(i));
  }
  std::vector<UpdateGroup> groups;
  for (auto& [shape, indexes] : members) {
    const int64_t size = static_cast<int64_t>(indexes.size());
    groups.push_back(
        {.shape = device.is_cpu() ? shape : largest, .members = std::move(indexes), .size = size});
  }
  return groups;
}

std::vector<SharedCondition> ConditionsOf(const std::vector<Trajectory*>& trajectories) {
  std::vector<SharedCondition> rows;
  for (const Trajectory* trajectory : trajectories) {
    for (SharedCondition& row : RowConditions(trajectory->conditioning(), trajectory->next())) {
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

at::Tensor UpdateColumns(const at::Tensor& slots, const at::Tensor& rows, const at::Tensor& noise) {
  std::vector<at::Tensor> parts = {slots, rows, slots.narrow(1, 0, 1)};
  if (noise.defined()) parts.push_back(noise);
  return at::cat(parts, 1);
}

at::Tensor PredictX0(const UpdateShape& shape, const GroupNumbers& numbers,
                     const at::Tensor& columns) {
  return at::clamp(at::bmm(numbers.to_x0, columns.narrow(1, 0, shape.slots + shape.rows)),
                   numbers.clip_min, numbers.clip_max);
}

RowBatch::RowBatch(std::vector<Trajectory*> trajectories, const Network& network,
                   DeviceRuntime& runtime)
    : trajectories_(std::move(trajectories)),
      runtime_(runtime),
      channels_(trajectories_.front()->shape().channels),
      groups_(GroupForUpdate(trajectories_, runtime.device())),
      table_(trajectories_, groups_),
      numbers_(table_.View(runtime.Upload(table_.Pack(runtime)))) {
  std::vector<at::Tensor> x;
  for (const Trajectory* trajectory : trajectories_) x.push_back(trajectory->x());
  input_.x = at::stack(x) * numbers_.input_scale;
  if (table_.rows() > static_cast<int64_t>(trajectories_.size())) {
    input_.x = input_.x.index_select(0, numbers_.owners);
  }
  input_.timesteps = numbers_.timesteps;
  input_.conditions = StackConditions(ConditionsOf(trajectories_));
  if (network.spec().num_class_embeds > 0) input_.conditions.class_labels = numbers_.labels;
}

at::Tensor RowBatch::Update(const at::Tensor& output) {
  std::vector<at::Tensor> x0(trajectories_.size()), slots(trajectories_.size());
  for (size_t g = 0; g < groups_.size(); ++g) {
    const std::vector<int64_t>& members = groups_[g].members;
    const Updated updated = UpdateGroupOf(groups_[g], numbers_.groups[g], output);
    for (size_t j = 0; j < members.size(); ++j) {
      const Trajectory& trajectory = *trajectories_[members[j]];
      x0[members[j]] = updated.x0[static_cast<int64_t>(j)].view_as(trajectory.x());
      slots[members[j]] = updated.slots[static_cast<int64_t>(j)]
                              .narrow(0, 0, trajectory.plan().slots)
                              .view_as(trajectory.slots());
      KeepKnown(members[j], slots[members[j]]);
    }
  }
  const at::Tensor all_x0 = at::stack(x0);
  // Only now, when nothing can throw any more: either all trajectories move or none does, and the
  // batch can be tried again image by image.
  for (size_t i = 0; i < trajectories_.size(); ++i) trajectories_[i]->Advance(std::move(slots[i]));
  return all_x0;
}

RowBatch::Updated RowBatch::UpdateGroupOf(const UpdateGroup& group, const GroupNumbers& numbers,
                                          const at::Tensor& output) const {
  const at::Tensor slots = at::cat(PaddedSlots(MembersOf(group), group.shape.slots))
                               .view({group.size, group.shape.slots, -1});
  const at::Tensor columns =
      UpdateColumns(slots, Rows(group, numbers, output), Noise(group, output));
  Updated updated{.x0 = PredictX0(group.shape, numbers, columns)};
  for (size_t j = 0; j < group.members.size(); ++j) {
    const Trajectory& trajectory = *trajectories_[group.members[j]];
    const auto* threshold = std::get_if<DynamicThreshold>(&trajectory.next().clip);
    if (threshold == nullptr) continue;
    const at::Tensor x0 = updated.x0[static_cast<int64_t>(j)];
    x0.copy_(ApplyDynamicThreshold(x0, *threshold));
  }
  columns.narrow(1, group.shape.x0_column(), 1).copy_(updated.x0);
  updated.slots = at::bmm(numbers.update, columns);
  return updated;
}

at::Tensor RowBatch::Rows(const UpdateGroup& group, const GroupNumbers& numbers,
                          const at::Tensor& output) const {
  const at::Tensor rows = output.narrow(1, 0, channels_)
                              .index_select(0, numbers.row_index)
                              .view({group.size, group.shape.rows, -1});
  for (size_t j = 0; j < group.members.size(); ++j) {
    const int64_t i = group.members[j];
    if (!IsRescaled(*trajectories_[i])) continue;
    rows[static_cast<int64_t>(j)][0].copy_(RescaledPrediction(i, output).flatten());
  }
  return rows;
}

// Drawn while the network still runs, where the device works beside the host.
at::Tensor RowBatch::Noise(const UpdateGroup& group, const at::Tensor& output) const {
  if (!group.shape.noise) return {};
  const at::Tensor noise = runtime_.Upload(HostNoise(MembersOf(group), runtime_));
  for (size_t j = 0; j < group.members.size(); ++j) {
    const int64_t i = group.members[j];
    const NoiseScale& scale = trajectories_[i]->next().noise;
    if (!IsLearned(scale)) continue;
    noise[static_cast<int64_t>(j)].mul_(
        LearnedDeviation(scale, Conditional(i, output, channels_)).view({1, -1}));
  }
  return noise;
}

std::vector<Trajectory*> RowBatch::MembersOf(const UpdateGroup& group) const {
  std::vector<Trajectory*> members;
  for (const int64_t i : group.members) members.push_back(trajectories_[i]);
  return members;
}

at::Tensor RowBatch::Conditional(int64_t i, const at::Tensor& output, int64_t channel) const {
  const Conditioning& conditioning = trajectories_[i]->conditioning();
  const at::Tensor rows = output.narrow(0, table_.row_begin(i), ConditionalRows(conditioning));
  return BlendRows(rows.narrow(1, channel, channels_), conditioning.conditions);
}

at::Tensor RowBatch::RescaledPrediction(int64_t i, const at::Tensor& output) const {
  const at::Tensor unconditional = output[table_.row_begin(i + 1) - 1].narrow(0, 0, channels_);
  return Guide(Conditional(i, output, 0), unconditional, trajectories_[i]->conditioning().guidance);
}

void RowBatch::KeepKnown(int64_t i, const at::Tensor& slots) const {
  if (!trajectories_[i]->KeepsKnown()) return;
  const at::Tensor& mask = trajectories_[i]->mask();
  slots[0].copy_(mask * slots[0] + (1 - mask) * trajectories_[i]->known(runtime_));
}

}  // namespace denoise
