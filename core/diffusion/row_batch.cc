#include "core/diffusion/row_batch.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/quantile.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <limits>
#include <utility>
#include <variant>

namespace denoise {
namespace {

// A trajectory's scalars for one evaluation, collated here and nowhere else: one copy to the device
// a batch.
enum Coefficient : int64_t {
  kInputScale,
  kX0FromState,
  kX0FromOutput,
  kClipMin,
  kClipMax,
  kGuidanceScale,
  kUpdate,  // kMaxSlots x (kMaxSlots + 2), row-major
};
constexpr int64_t kColumns = kMaxSlots + 2;
constexpr int64_t kNumCoefficients = kUpdate + kMaxSlots * kColumns;

// Slots that the plan does not use have zero rows and columns, so that every trajectory's product
// has one shape.
void CollateUpdate(const SmallMatrix& update, float* row) {
  const int slots = update.rows();
  for (int i = 0; i < slots; ++i) {
    for (int j = 0; j < slots; ++j) row[i * kColumns + j] = static_cast<float>(update(i, j));
    for (int j = 0; j < 2; ++j)
      row[i * kColumns + kMaxSlots + j] = static_cast<float>(update(i, slots + j));
  }
}

void Collate(const Trajectory& trajectory, float* row) {
  const Evaluation& evaluation = trajectory.next();
  const auto* clip = std::get_if<StaticClip>(&evaluation.clip);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  row[kInputScale] = static_cast<float>(evaluation.input_scale);
  row[kX0FromState] = static_cast<float>(evaluation.x0_from_state);
  row[kX0FromOutput] = static_cast<float>(evaluation.x0_from_output);
  row[kClipMin] = clip ? static_cast<float>(clip->min) : -kInfinity;
  row[kClipMax] = clip ? static_cast<float>(clip->max) : kInfinity;
  row[kGuidanceScale] = static_cast<float>(trajectory.conditioning().guidance.scale);
  CollateUpdate(evaluation.update, row + kUpdate);
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

// The standard deviation of one trajectory's noise; `v` is the network's second half for its
// conditional row.
at::Tensor NoiseDeviation(const NoiseScale& scale, const at::Tensor& v) {
  if (std::holds_alternative<LearnedVariance>(scale)) return v.sqrt();
  const auto& range = std::get<LearnedRange>(scale);
  const at::Tensor fraction = (v + 1) / 2;
  return (0.5 * (fraction * range.log_variance_max + (1 - fraction) * range.log_variance_min))
      .exp();
}

}  // namespace

RowBatch::RowBatch(std::vector<Trajectory*> trajectories, const Network& network)
    : trajectories_(std::move(trajectories)),
      channels_(network.spec().in_channels),
      device_(network.device()) {
  const int64_t count = static_cast<int64_t>(trajectories_.size());
  at::Tensor coefficients = at::zeros({count, kNumCoefficients}, at::kFloat);
  std::vector<at::Tensor> slots;
  std::vector<float> timesteps;
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < count; ++i) {
    const Trajectory& trajectory = *trajectories_[i];
    Collate(trajectory, coefficients.data_ptr<float>() + i * kNumCoefficients);
    slots.push_back(trajectory.slots());
    timesteps.push_back(static_cast<float>(trajectory.next().timestep));
    labels.push_back(trajectory.conditioning().class_label.value_or(0));
    if (trajectory.guided()) guided_.push_back(i);
  }
  for (int64_t i : guided_) {
    timesteps.push_back(timesteps[i]);
    labels.push_back(trajectories_[i]->conditioning().null_class_label.value_or(0));
  }
  coefficients_ = coefficients.to(device_);
  slots_ = at::stack(slots);
  input_.x = slots_.select(1, 0) * Column(coefficients_, kInputScale);
  if (!guided_.empty()) {
    input_.x = at::cat({input_.x, input_.x.index_select(0, at::tensor(guided_).to(device_))});
  }
  input_.timesteps = at::tensor(timesteps).to(device_);
  if (network.spec().num_class_embeds > 0) input_.class_labels = at::tensor(labels).to(device_);
}

at::Tensor RowBatch::Update(const at::Tensor& output) {
  const int64_t count = static_cast<int64_t>(trajectories_.size());
  const at::Tensor m = Guided(output);
  const at::Tensor x0 = PredictX0(m);
  const at::Tensor columns = at::cat({slots_, x0.unsqueeze(1), m.unsqueeze(1)}, 1).flatten(2);
  const at::Tensor update =
      coefficients_.narrow(1, kUpdate, kMaxSlots * kColumns).reshape({count, kMaxSlots, kColumns});
  const at::Tensor updated = at::bmm(update, columns).view_as(slots_);
  if (const at::Tensor noise = Noise(output); noise.defined()) updated.select(1, 0).add_(noise);
  // Copies, so that an image on its way does not keep the whole batch in memory; all of them before
  // the first trajectory moves, so that they all move or none does.
  std::vector<at::Tensor> slots;
  for (int64_t i = 0; i < count; ++i) slots.push_back(updated[i].clone());
  for (int64_t i = 0; i < count; ++i) trajectories_[i]->Advance(std::move(slots[i]));
  return x0;
}

at::Tensor RowBatch::Guided(const at::Tensor& output) const {
  const int64_t count = static_cast<int64_t>(trajectories_.size());
  const at::Tensor prediction = output.narrow(1, 0, channels_);  // less the learned variance
  at::Tensor m = prediction.narrow(0, 0, count);
  if (guided_.empty()) return m;
  const at::Tensor indices = at::tensor(guided_).to(device_);
  const at::Tensor conditional = m.index_select(0, indices);
  const at::Tensor unconditional =
      prediction.narrow(0, count, static_cast<int64_t>(guided_.size()));
  const at::Tensor scale = Column(coefficients_, kGuidanceScale).index_select(0, indices);
  return m.index_copy(0, indices, unconditional + scale * (conditional - unconditional));
}

at::Tensor RowBatch::PredictX0(const at::Tensor& m) const {
  at::Tensor x0 = Column(coefficients_, kX0FromState) * slots_.select(1, 0) +
                  Column(coefficients_, kX0FromOutput) * m;
  x0 = at::minimum(at::maximum(x0, Column(coefficients_, kClipMin)),
                   Column(coefficients_, kClipMax));
  for (size_t i = 0; i < trajectories_.size(); ++i) {
    const auto* threshold = std::get_if<DynamicThreshold>(&trajectories_[i]->next().clip);
    if (threshold != nullptr) x0[i].copy_(ApplyDynamicThreshold(x0[i], *threshold));
  }
  return x0;
}

at::Tensor RowBatch::Noise(const at::Tensor& output) {
  at::Tensor noise;
  for (size_t i = 0; i < trajectories_.size(); ++i) {
    const Evaluation& evaluation = trajectories_[i]->next();
    if (!AddsNoise(evaluation)) continue;
    if (!noise.defined()) noise = at::zeros_like(slots_.select(1, 0), at::MemoryFormat::Contiguous);
    const at::Tensor& z = trajectories_[i]->noise();
    if (const double* deviation = std::get_if<double>(&evaluation.noise)) {
      noise[i].copy_(z * *deviation);
    } else {
      noise[i].copy_(NoiseDeviation(evaluation.noise, output[i].narrow(0, channels_, channels_)) *
                     z.to(device_));
    }
  }
  return noise;
}

}  // namespace denoise
