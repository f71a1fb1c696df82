#include "core/diffusion/row_batch.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/quantile.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <limits>
#include <map>
#include <utility>
#include <variant>

#include "core/diffusion/learned_variance.h"

namespace denoise {
namespace {

// A trajectory's scalars for one evaluation, one copy to the device a batch; its update matrix is
// collated in UpdatedSlots.
enum Coefficient : int64_t {
  kInputScale,
  kX0FromState,
  kX0FromOutput,
  kClipMin,
  kClipMax,
  kNumCoefficients,
};

void Collate(const Trajectory& trajectory, float* row) {
  const Evaluation& evaluation = trajectory.next();
  const auto* clip = std::get_if<StaticClip>(&evaluation.clip);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  row[kInputScale] = static_cast<float>(evaluation.input_scale);
  row[kX0FromState] = static_cast<float>(evaluation.x0_from_state);
  row[kX0FromOutput] = static_cast<float>(evaluation.x0_from_output);
  row[kClipMin] = clip ? static_cast<float>(clip->min) : -kInfinity;
  row[kClipMax] = clip ? static_cast<float>(clip->max) : kInfinity;
}

// Row-major.
float* CopyMatrix(const SmallMatrix& matrix, float* to) {
  for (int i = 0; i < matrix.rows(); ++i) {
    for (int j = 0; j < matrix.columns(); ++j) *to++ = static_cast<float>(matrix(i, j));
  }
  return to;
}

// [rows, 1, 1, 1], to be broadcast over pictures.
at::Tensor Column(const at::Tensor& coefficients, int64_t column) {
  return coefficients.select(1, column).view({-1, 1, 1, 1});
}

// Saharia et al. 2022, section 2.3, over one picture.
at::Tensor ApplyDynamicThreshold(const at::Tensor& x0, const DynamicThreshold& threshold) {
  const at::Tensor s =
      at::quantile(x0.abs().flatten(), threshold.ratio).clamp(1, threshold.max_value);
  return at::minimum(at::maximum(x0, -s), s) / s;
}

// The standard deviation of one trajectory's noise; `v` is the network's second half, blended as
// its conditional rows are.
at::Tensor NoiseDeviation(const NoiseScale& scale, const at::Tensor& v) {
  if (std::holds_alternative<LearnedVariance>(scale)) return v.sqrt();
  const auto& range = std::get<LearnedRange>(scale);
  return (0.5 * LearnedRangeLogVariance(v, range.log_variance_min, range.log_variance_max)).exp();
}

}  // namespace

RowBatch::RowBatch(std::vector<Trajectory*> trajectories, const Network& network)
    : trajectories_(std::move(trajectories)),
      channels_(network.spec().in_channels),
      device_(network.device()) {
  const int64_t count = static_cast<int64_t>(trajectories_.size());
  at::Tensor coefficients = at::empty({count, kNumCoefficients}, at::kFloat);
  std::vector<at::Tensor> x;
  std::vector<float> timesteps;
  std::vector<int64_t> labels, owners;
  for (int64_t i = 0; i < count; ++i) {
    const Trajectory& trajectory = *trajectories_[i];
    Collate(trajectory, coefficients.data_ptr<float>() + i * kNumCoefficients);
    x.push_back(trajectory.x());
    row_begin_.push_back(static_cast<int64_t>(owners.size()));
    for (int64_t label : RowLabels(trajectory.conditioning(), trajectory.next())) {
      labels.push_back(label);
      timesteps.push_back(static_cast<float>(trajectory.next().timestep));
      owners.push_back(i);
    }
  }
  row_begin_.push_back(static_cast<int64_t>(owners.size()));
  coefficients_ = coefficients.to(device_);
  x_ = at::stack(x);
  input_.x = x_ * Column(coefficients_, kInputScale);
  if (row_begin_.back() > count) {
    input_.x = input_.x.index_select(0, at::tensor(owners).to(device_));
  }
  input_.timesteps = at::tensor(timesteps).to(device_);
  if (network.spec().num_class_embeds > 0) input_.class_labels = at::tensor(labels).to(device_);
}

at::Tensor RowBatch::Update(const at::Tensor& output) {
  std::vector<at::Tensor> conditional, guided;
  for (size_t i = 0; i < trajectories_.size(); ++i) {
    conditional.push_back(Conditional(i, output));
    guided.push_back(Guided(i, conditional[i], output));
  }
  const at::Tensor m = at::stack(guided);
  at::Tensor x0 = PredictX0(m);
  std::vector<at::Tensor> slots = UpdatedSlots(x0, m);
  for (size_t i = 0; i < trajectories_.size(); ++i) {
    AddNoise(i, conditional[i], slots[i]);
    KeepKnown(i, slots[i]);
  }
  // Only now, when nothing can throw any more: either all trajectories move or none does, and the
  // batch can be tried again image by image.
  for (size_t i = 0; i < trajectories_.size(); ++i) trajectories_[i]->Advance(std::move(slots[i]));
  return x0;
}

// One product for all trajectories whose plans have equally many slots.
std::vector<at::Tensor> RowBatch::UpdatedSlots(const at::Tensor& x0, const at::Tensor& m) const {
  std::map<int64_t, std::vector<int64_t>> members_by_slots;
  for (size_t i = 0; i < trajectories_.size(); ++i) {
    members_by_slots[trajectories_[i]->plan().slots].push_back(static_cast<int64_t>(i));
  }
  const at::Tensor x0_rows = x0.flatten(1), m_rows = m.flatten(1);
  std::vector<at::Tensor> updated(trajectories_.size());
  for (const auto& [slots, members] : members_by_slots) {
    const int64_t count = static_cast<int64_t>(members.size());
    const at::Tensor update = at::empty({count, slots, slots + 2}, at::kFloat);
    float* next = update.data_ptr<float>();
    std::vector<at::Tensor> columns;
    for (int64_t i : members) {
      next = CopyMatrix(trajectories_[i]->next().update, next);
      for (const at::Tensor& column : {trajectories_[i]->slots().flatten(1),
                                       x0_rows.narrow(0, i, 1), m_rows.narrow(0, i, 1)}) {
        columns.push_back(column);
      }
    }
    const at::Tensor product =
        at::bmm(update.to(device_), at::cat(columns).view({count, slots + 2, -1}));
    for (int64_t j = 0; j < count; ++j) {
      updated[members[j]] = product[j].view_as(trajectories_[members[j]]->slots());
    }
  }
  return updated;
}

at::Tensor RowBatch::Conditional(size_t i, const at::Tensor& output) const {
  const Conditioning& conditioning = trajectories_[i]->conditioning();
  return BlendRows(output.narrow(0, row_begin_[i], ConditionalRows(conditioning)),
                   conditioning.class_weights);
}

// The network's second half, where it has one, is the learned variance: no guidance for that.
at::Tensor RowBatch::Guided(size_t i, const at::Tensor& conditional,
                            const at::Tensor& output) const {
  const Trajectory& trajectory = *trajectories_[i];
  const at::Tensor prediction = conditional.narrow(0, 0, channels_);
  if (!IsGuided(trajectory.conditioning(), trajectory.next())) return prediction;
  const at::Tensor unconditional = output[row_begin_[i + 1] - 1].narrow(0, 0, channels_);
  return Guide(prediction, unconditional, trajectory.conditioning().guidance);
}

at::Tensor RowBatch::PredictX0(const at::Tensor& m) const {
  const at::Tensor x0 =
      at::clamp(Column(coefficients_, kX0FromState) * x_ + Column(coefficients_, kX0FromOutput) * m,
                Column(coefficients_, kClipMin), Column(coefficients_, kClipMax));
  for (size_t i = 0; i < trajectories_.size(); ++i) {
    const auto* threshold = std::get_if<DynamicThreshold>(&trajectories_[i]->next().clip);
    if (threshold != nullptr) x0[i].copy_(ApplyDynamicThreshold(x0[i], *threshold));
  }
  return x0;
}

void RowBatch::AddNoise(size_t i, const at::Tensor& conditional, const at::Tensor& slots) const {
  const Evaluation& evaluation = trajectories_[i]->next();
  if (!AddsNoise(evaluation)) return;
  const at::Tensor& z = trajectories_[i]->noise();
  if (const double* deviation = std::get_if<double>(&evaluation.noise)) {
    slots[0].add_((z * *deviation).to(device_));
    return;
  }
  const at::Tensor v = conditional.narrow(0, channels_, channels_);
  slots[0].add_(NoiseDeviation(evaluation.noise, v) * z.to(device_));
}

void RowBatch::KeepKnown(size_t i, const at::Tensor& slots) const {
  if (!trajectories_[i]->KeepsKnown()) return;
  const at::Tensor& mask = trajectories_[i]->mask();
  slots[0].copy_(mask * slots[0] + (1 - mask) * trajectories_[i]->known());
}

}  // namespace denoise
