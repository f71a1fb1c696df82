// The few numbers that one evaluation of many trajectories takes, collated on the host so that one
// copy brings them to the device.
//
// A trajectory's update is two small products. With K slots S, R rows of the network's output m_r
// and their weights g in the guided prediction m = g . rows (guidance.h):
//
//     x0 = clip(x0_from_state * S[0] + x0_from_output * g . rows)   to_x0  = 1 x (K + R)
//     S' = update * [S ; x0 ; m] + noise * z                        update = K x (K + R + 2)
//
// where the second product has the columns [S ; rows ; x0 ; z], the column of m being folded into
// those of the rows. So guidance, the sampler and its noise are one matrix.
#pragma once

#include <ATen/core/Tensor.h>

#include <compare>
#include <cstdint>
#include <vector>

#include "core/device/device_runtime.h"
#include "core/diffusion/trajectory.h"

namespace denoise {

// The shape of a trajectory's products.
struct UpdateShape {
  int64_t slots = 1;   // K
  int64_t rows = 1;    // R
  bool noise = false;  // has the column of z

  int64_t columns() const { return slots + rows + 1 + (noise ? 1 : 0); }
  int64_t x0_column() const { return slots + rows; }

  auto operator<=>(const UpdateShape&) const = default;
};

UpdateShape UpdateShapeOf(const Trajectory& trajectory);

// Whether the update is the two products alone; otherwise guidance rescale, dynamic thresholding,
// learned variance or inpainting act on this image between or after them.
bool IsLinear(const Trajectory& trajectory);

// Whether the next evaluation rescales its guided prediction. Then the first of its rows is to hold
// the rescaled m, and the weights are (1, 0, ...).
bool IsRescaled(const Trajectory& trajectory);

// Trajectories whose products run as one. On the CPU all have the shape of their own plans, so that
// no image depends on the others; elsewhere smaller ones are padded.
struct UpdateGroup {
  UpdateShape shape;
  std::vector<int64_t> members;  // indexes of trajectories
  int64_t size = 0;              // at least members.size(); what is beyond them is padding
};

// The tensors of a group on the device, views of one upload.
struct GroupNumbers {
  at::Tensor row_index;  // [n * R] int64: which row of the network's output each row is
  at::Tensor clip_min;   // [n, 1, 1] float32
  at::Tensor clip_max;
  at::Tensor to_x0;   // [n, 1, K + R]
  at::Tensor update;  // [n, K, columns]
};

struct EvaluationNumbers {
  at::Tensor labels;       // [rows] int64; 0 for a row without a class
  at::Tensor owners;       // [rows] int64: the trajectory of each row
  at::Tensor timesteps;    // [rows] float32
  at::Tensor input_scale;  // [trajectories, 1, 1, 1]
  std::vector<GroupNumbers> groups;
};

// Collates the next evaluations of `trajectories`. The order of a trajectory's rows is that of
// RowConditions.
class NumberTable {
 public:
  // The padded counts may exceed what the trajectories need; the padding repeats the first row.
  NumberTable(const std::vector<Trajectory*>& trajectories, std::vector<UpdateGroup> groups,
              int64_t padded_trajectories = 0, int64_t padded_rows = 0);

  int64_t rows() const { return labels_.size; }
  // Trajectory i has rows [row_begin(i), row_begin(i + 1)).
  int64_t row_begin(size_t i) const { return row_begin_[i]; }

  int64_t num_bytes() const;
  // All numbers as bytes, [num_bytes()] uint8 on the host, to be uploaded.
  at::Tensor Pack(DeviceRuntime& runtime) const;
  // Views of what Pack made, wherever it was copied to. They depend on the counts and the groups'
  // shapes and sizes only.
  EvaluationNumbers View(const at::Tensor& bytes) const;

 private:
  struct Section {
    int64_t begin;
    int64_t size;
  };
  struct GroupSections {
    Section row_index, clip_min, clip_max, to_x0, update;
  };

  Section AddInts(int64_t size);
  Section AddFloats(int64_t size);
  void CollateRows(const std::vector<Trajectory*>& trajectories);
  void CollateGroup(const std::vector<Trajectory*>& trajectories, const UpdateGroup& group);
  at::Tensor Ints(const at::Tensor& bytes, Section section) const;
  at::Tensor Floats(const at::Tensor& bytes, Section section) const;

  std::vector<UpdateGroup> groups_;
  std::vector<int64_t> row_begin_;
  std::vector<int64_t> ints_;
  std::vector<float> floats_;
  Section labels_, owners_, timesteps_, input_scale_;
  std::vector<GroupSections> group_sections_;
};

// Each trajectory's slots [K, D], then its first slot repeated until there are `slots`: the parts
// of a concatenation.
std::vector<at::Tensor> PaddedSlots(const std::vector<Trajectory*>& trajectories, int64_t slots);

// The noise of every trajectory's next evaluation, zero where it adds none: [trajectories, 1, D]
// float32 on the host, to be uploaded.
at::Tensor HostNoise(const std::vector<Trajectory*>& trajectories, DeviceRuntime& runtime);

}  // namespace denoise
