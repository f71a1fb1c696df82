#include "core/diffusion/evaluation_graph.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>

#include "core/diffusion/row_batch.h"

namespace denoise {
namespace {

int64_t PadCount(int64_t count) {
  if (count <= 8) return count;
  const int64_t step = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(count - 1))) / 4;
  return (count + step - 1) / step * step;
}

int64_t TokensOf(const Condition& condition) {
  return condition.text_states.defined() ? condition.text_states.size(0) : 0;
}

// The conditions of the batch, padded to `count` rows.
Conditions PaddedConditions(const std::vector<Trajectory*>& trajectories, int64_t count) {
  std::vector<SharedCondition> rows = ConditionsOf(trajectories);
  rows.resize(count, rows.front());
  return StackConditions(rows);
}

}  // namespace

bool SuitsGraph(const std::vector<Trajectory*>& trajectories) {
  const std::vector<SharedCondition> rows = ConditionsOf(trajectories);
  return std::all_of(trajectories.begin(), trajectories.end(),
                     [](const Trajectory* trajectory) { return IsLinear(*trajectory); }) &&
         std::all_of(rows.begin(), rows.end(), [&](const SharedCondition& row) {
           return TokensOf(*row) == TokensOf(*rows.front()) && !ChangeNetwork(row->adapters);
         });
}

GraphShape GraphShapeOf(const std::vector<Trajectory*>& trajectories) {
  GraphShape shape{.sample = trajectories.front()->shape(),
                   .text_tokens = TokensOf(*ConditionsOf({trajectories.front()}).front()),
                   .trajectories = PadCount(static_cast<int64_t>(trajectories.size())),
                   .rows = 0,
                   .update = {.noise = true}};
  for (const Trajectory* trajectory : trajectories) {
    const UpdateShape update = UpdateShapeOf(*trajectory);
    shape.rows += update.rows;
    shape.update.slots = std::max(shape.update.slots, update.slots);
    shape.update.rows = std::max(shape.update.rows, update.rows);
  }
  shape.rows = PadCount(shape.rows);
  return shape;
}

EvaluationGraph::EvaluationGraph(const GraphShape& shape,
                                 const std::vector<Trajectory*>& trajectories,
                                 const Network& network, DeviceRuntime& runtime)
    : shape_(shape), network_(network), runtime_(runtime) {
  const int64_t size = shape.sample.numel();
  const auto floats = at::TensorOptions().dtype(at::kFloat).device(runtime.device());
  state_ = at::zeros({shape.trajectories, shape.update.slots, size}, floats);
  slots_ = at::zeros({shape.trajectories, shape.update.slots, size}, floats);
  noise_ = at::zeros({shape.trajectories, 1, size}, floats);
  x0_ = at::zeros({shape.trajectories, 1, size}, floats);
  const NumberTable table = TableOf(trajectories);
  bytes_ = at::empty({table.num_bytes()}, floats.dtype(at::kByte));
  numbers_ = table.View(bytes_);
  conditions_ = PaddedConditions(trajectories, shape.rows);
  if (network.spec().num_class_embeds > 0) conditions_.class_labels = numbers_.labels;
  Load(trajectories, table);
  graph_ = runtime.Capture([this] { Run(); });
}

at::Tensor EvaluationGraph::Evaluate(const std::vector<Trajectory*>& trajectories) {
  Load(trajectories, TableOf(trajectories));
  graph_->Replay();
  const int64_t count = static_cast<int64_t>(trajectories.size());
  std::vector<int64_t> shape = trajectories.front()->slots().sizes().vec();
  shape.front() = count;
  const at::Tensor x0 = x0_.narrow(0, 0, count).clone().view(shape);
  const at::Tensor slots = slots_.narrow(0, 0, count).clone();
  std::vector<at::Tensor> moved;
  for (int64_t i = 0; i < count; ++i) {
    const Trajectory& trajectory = *trajectories[i];
    moved.push_back(slots[i].narrow(0, 0, trajectory.plan().slots).view_as(trajectory.slots()));
  }
  for (int64_t i = 0; i < count; ++i) trajectories[i]->Advance(std::move(moved[i]));
  return x0;
}

NumberTable EvaluationGraph::TableOf(const std::vector<Trajectory*>& trajectories) const {
  UpdateGroup group{.shape = shape_.update,
                    .members = std::vector<int64_t>(trajectories.size()),
                    .size = shape_.trajectories};
  std::iota(group.members.begin(), group.members.end(), 0);
  return NumberTable(trajectories, {std::move(group)}, shape_.trajectories, shape_.rows);
}

void EvaluationGraph::Load(const std::vector<Trajectory*>& trajectories, const NumberTable& table) {
  const int64_t count = static_cast<int64_t>(trajectories.size());
  runtime_.UploadInto(table.Pack(runtime_), bytes_);
  conditions_.CopyFrom(PaddedConditions(trajectories, shape_.rows));
  const std::vector<at::Tensor> slots = PaddedSlots(trajectories, shape_.update.slots);
  at::Tensor state = state_.narrow(0, 0, count).flatten(0, 1);
  at::cat_out(state, slots);
  if (!std::any_of(trajectories.begin(), trajectories.end(),
                   [](const Trajectory* t) { return AddsNoise(t->next()); })) {
    return;  // stale noise has coefficient 0
  }
  runtime_.UploadInto(HostNoise(trajectories, runtime_), noise_.narrow(0, 0, count));
}

void EvaluationGraph::Run() {
  const GroupNumbers& group = numbers_.groups.front();
  const auto [channels, height, width] = shape_.sample;
  const at::Tensor x = state_.select(1, 0).view({-1, channels, height, width});
  const NetworkInput input{.x = (x * numbers_.input_scale).index_select(0, numbers_.owners),
                           .timesteps = numbers_.timesteps,
                           .conditions = conditions_};
  const at::Tensor rows = network_.Forward(input)
                              .narrow(1, 0, channels)
                              .index_select(0, group.row_index)
                              .view({shape_.trajectories, shape_.update.rows, -1});
  const at::Tensor columns = UpdateColumns(state_, rows, noise_);
  x0_.copy_(PredictX0(shape_.update, group, columns));
  columns.narrow(1, shape_.update.x0_column(), 1).copy_(x0_);
  slots_.copy_(at::bmm(group.update, columns));
}

}  // namespace denoise
