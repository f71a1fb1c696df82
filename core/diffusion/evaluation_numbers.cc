#include "core/diffusion/evaluation_numbers.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>
#include <variant>

namespace denoise {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Of the rows that the products see.
std::vector<double> ProductWeights(const Trajectory& trajectory) {
  std::vector<double> weights = RowWeights(trajectory.conditioning(), trajectory.next());
  if (IsRescaled(trajectory)) {
    std::fill(weights.begin(), weights.end(), 0.0);
    weights.front() = 1;
  }
  return weights;
}

void CollateToX0(const Trajectory& trajectory, const UpdateShape& shape, float* to) {
  const Evaluation& evaluation = trajectory.next();
  to[0] = static_cast<float>(evaluation.x0_from_state);
  const std::vector<double> weights = ProductWeights(trajectory);
  for (size_t r = 0; r < weights.size(); ++r) {
    to[shape.slots + static_cast<int64_t>(r)] =
        static_cast<float>(evaluation.x0_from_output * weights[r]);
  }
}

// Row-major. Rows and columns of padding stay zero.
void CollateUpdate(const Trajectory& trajectory, const UpdateShape& shape, float* to) {
  const Evaluation& evaluation = trajectory.next();
  const int slots = trajectory.plan().slots;
  const std::vector<double> weights = ProductWeights(trajectory);
  for (int i = 0; i < slots; ++i, to += shape.columns()) {
    for (int j = 0; j < slots; ++j) to[j] = static_cast<float>(evaluation.update(i, j));
    to[shape.x0_column()] = static_cast<float>(evaluation.update(i, slots));
    for (size_t r = 0; r < weights.size(); ++r) {
      to[shape.slots + static_cast<int64_t>(r)] =
          static_cast<float>(evaluation.update(i, slots + 1) * weights[r]);
    }
    if (i > 0 || !AddsNoise(evaluation)) continue;
    const auto* deviation = std::get_if<double>(&evaluation.noise);
    to[shape.x0_column() + 1] = deviation != nullptr ? static_cast<float>(*deviation) : 1;
  }
}

}  // namespace

UpdateShape UpdateShapeOf(const Trajectory& trajectory) {
  return {.slots = trajectory.plan().slots,
          .rows = trajectory.rows(),
          .noise = AddsNoise(trajectory.next())};
}

bool IsRescaled(const Trajectory& trajectory) {
  return trajectory.conditioning().guidance.rescale != 0 &&
         IsGuided(trajectory.conditioning(), trajectory.next());
}

bool IsLinear(const Trajectory& trajectory) {
  const Evaluation& evaluation = trajectory.next();
  return !IsRescaled(trajectory) && !trajectory.KeepsKnown() &&
         std::holds_alternative<double>(evaluation.noise) &&
         !std::holds_alternative<DynamicThreshold>(evaluation.clip);
}

NumberTable::NumberTable(const std::vector<Trajectory*>& trajectories,
                         std::vector<UpdateGroup> groups, int64_t padded_trajectories,
                         int64_t padded_rows)
    : groups_(std::move(groups)) {
  row_begin_.push_back(0);
  for (const Trajectory* trajectory : trajectories) {
    row_begin_.push_back(row_begin_.back() + trajectory->rows());
  }
  const int64_t rows = std::max(row_begin_.back(), padded_rows);
  labels_ = AddInts(rows);
  owners_ = AddInts(rows);
  timesteps_ = AddFloats(rows);
  input_scale_ =
      AddFloats(std::max(static_cast<int64_t>(trajectories.size()), padded_trajectories));
  CollateRows(trajectories);
  for (const UpdateGroup& group : groups_) CollateGroup(trajectories, group);
}

NumberTable::Section NumberTable::AddInts(int64_t size) {
  const Section section{.begin = static_cast<int64_t>(ints_.size()), .size = size};
  ints_.resize(ints_.size() + size);
  return section;
}

NumberTable::Section NumberTable::AddFloats(int64_t size) {
  const Section section{.begin = static_cast<int64_t>(floats_.size()), .size = size};
  floats_.resize(floats_.size() + size);
  return section;
}

void NumberTable::CollateRows(const std::vector<Trajectory*>& trajectories) {
  int64_t* labels = ints_.data() + labels_.begin;
  int64_t* owners = ints_.data() + owners_.begin;
  float* timesteps = floats_.data() + timesteps_.begin;
  int64_t row = 0;
  for (size_t i = 0; i < trajectories.size(); ++i) {
    const Evaluation& evaluation = trajectories[i]->next();
    floats_[input_scale_.begin + i] = static_cast<float>(evaluation.input_scale);
    for (const SharedCondition& told : RowConditions(trajectories[i]->conditioning(), evaluation)) {
      labels[row] = told->class_label.value_or(0);
      owners[row] = static_cast<int64_t>(i);
      timesteps[row++] = static_cast<float>(evaluation.timestep);
    }
  }
  std::fill(labels + row, labels + labels_.size, labels[0]);
  std::fill(timesteps + row, timesteps + timesteps_.size, timesteps[0]);
}

void NumberTable::CollateGroup(const std::vector<Trajectory*>& trajectories,
                               const UpdateGroup& group) {
  const UpdateShape& shape = group.shape;
  GroupSections sections;
  sections.row_index = AddInts(group.size * shape.rows);
  sections.clip_min = AddFloats(group.size);
  sections.clip_max = AddFloats(group.size);
  sections.to_x0 = AddFloats(group.size * (shape.slots + shape.rows));
  sections.update = AddFloats(group.size * shape.slots * shape.columns());
  group_sections_.push_back(sections);
  float* const floats = floats_.data();
  for (size_t j = 0; j < group.members.size(); ++j) {
    const int64_t i = group.members[j];
    const Trajectory& trajectory = *trajectories[i];
    const auto* clip = std::get_if<StaticClip>(&trajectory.next().clip);
    floats[sections.clip_min.begin + j] = clip ? static_cast<float>(clip->min) : -kInfinity;
    floats[sections.clip_max.begin + j] = clip ? static_cast<float>(clip->max) : kInfinity;
    CollateToX0(trajectory, shape, floats + sections.to_x0.begin + j * (shape.slots + shape.rows));
    CollateUpdate(trajectory, shape,
                  floats + sections.update.begin + j * shape.slots * shape.columns());
    for (int64_t r = 0; r < shape.rows; ++r) {  // padded with its own: another's may not be finite
      ints_[sections.row_index.begin + static_cast<int64_t>(j) * shape.rows + r] =
          std::min(row_begin_[i] + r, row_begin_[i + 1] - 1);
    }
  }
}

int64_t NumberTable::num_bytes() const {
  return static_cast<int64_t>(ints_.size() * sizeof(int64_t) + floats_.size() * sizeof(float));
}

at::Tensor NumberTable::Pack(DeviceRuntime& runtime) const {
  const size_t int_bytes = ints_.size() * sizeof(int64_t);
  at::Tensor bytes = runtime.HostTensor({num_bytes()}, at::kByte);
  std::memcpy(bytes.data_ptr<uint8_t>(), ints_.data(), int_bytes);
  std::memcpy(bytes.data_ptr<uint8_t>() + int_bytes, floats_.data(),
              floats_.size() * sizeof(float));
  return bytes;
}

at::Tensor NumberTable::Ints(const at::Tensor& bytes, Section section) const {
  constexpr int64_t kSize = sizeof(int64_t);
  return bytes.narrow(0, section.begin * kSize, section.size * kSize).view(at::kLong);
}

at::Tensor NumberTable::Floats(const at::Tensor& bytes, Section section) const {
  constexpr int64_t kSize = sizeof(float);
  const int64_t begin = static_cast<int64_t>(ints_.size() * sizeof(int64_t));
  return bytes.narrow(0, begin + section.begin * kSize, section.size * kSize).view(at::kFloat);
}

EvaluationNumbers NumberTable::View(const at::Tensor& bytes) const {
  EvaluationNumbers numbers{.labels = Ints(bytes, labels_),
                            .owners = Ints(bytes, owners_),
                            .timesteps = Floats(bytes, timesteps_),
                            .input_scale = Floats(bytes, input_scale_).view({-1, 1, 1, 1})};
  for (size_t g = 0; g < groups_.size(); ++g) {
    const UpdateShape& shape = groups_[g].shape;
    const GroupSections& sections = group_sections_[g];
    numbers.groups.push_back(
        {.row_index = Ints(bytes, sections.row_index),
         .clip_min = Floats(bytes, sections.clip_min).view({-1, 1, 1}),
         .clip_max = Floats(bytes, sections.clip_max).view({-1, 1, 1}),
         .to_x0 = Floats(bytes, sections.to_x0).view({-1, 1, shape.slots + shape.rows}),
         .update = Floats(bytes, sections.update).view({-1, shape.slots, shape.columns()})});
  }
  return numbers;
}

std::vector<at::Tensor> PaddedSlots(const std::vector<Trajectory*>& trajectories, int64_t slots) {
  std::vector<at::Tensor> parts;
  for (const Trajectory* trajectory : trajectories) {
    const at::Tensor own = trajectory->slots().flatten(1);
    parts.push_back(own);
    for (int64_t k = own.size(0); k < slots; ++k) parts.push_back(own.narrow(0, 0, 1));
  }
  return parts;
}

at::Tensor HostNoise(const std::vector<Trajectory*>& trajectories, DeviceRuntime& runtime) {
  const int64_t count = static_cast<int64_t>(trajectories.size());
  const int64_t size = trajectories.front()->x().numel();
  at::Tensor noise = runtime.HostTensor({count, 1, size}, at::kFloat);
  float* next = noise.data_ptr<float>();
  for (Trajectory* trajectory : trajectories) {
    if (AddsNoise(trajectory->next())) {
      std::memcpy(next, trajectory->noise().data_ptr<float>(), size * sizeof(float));
    } else {
      std::fill_n(next, size, 0.0F);
    }
    next += size;
  }
  return noise;
}

}  // namespace denoise
