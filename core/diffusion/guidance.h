// What an image should show and how strongly: weighted conditions, classifier-free guidance, and
// the rows of a network batch that both take. docs/guidance.md shows what each does.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "core/nn/condition.h"
#include "core/sampling/samplers/plan.h"

namespace denoise {

struct WeightedCondition {
  SharedCondition condition = NoCondition();
  double weight = 1;  // above 0; the weights of an image sum to 1
};

// [min, max].
struct Interval {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();

  bool Contains(double value) const { return min <= value && value <= max; }
};

// Classifier-free guidance (Ho & Salimans 2022), within an interval (Kynkaanniemi et al. 2024).
// Outside it the conditional prediction stands alone.
struct Guidance {
  double scale = 1;    // 1 is the conditional prediction alone
  double rescale = 0;  // phi of Lin et al. 2023, section 3.4, in [0, 1]
  Interval timesteps;  // guided at evaluations within both
  Interval sigmas;     // noise levels sigma / alpha
};

struct Conditioning {
  std::vector<WeightedCondition> conditions = {WeightedCondition()};  // one row each, at least one
  // What the unconditional row is told; required for guidance.
  SharedCondition unconditional = nullptr;
  Guidance guidance = {};
};

// Whether `evaluation` takes an unconditional row.
bool IsGuided(const Conditioning& conditioning, const Evaluation& evaluation);

// The condition of each row of `evaluation`: the conditional ones, then the unconditional one if it
// is guided.
std::vector<SharedCondition> RowConditions(const Conditioning& conditioning,
                                           const Evaluation& evaluation);

// The weight of each of those rows in the guided prediction, m = sum_i weight_i row_i, before any
// rescaling: the conditions' weights where it is not guided, else scale * weight and 1 - scale.
std::vector<double> RowWeights(const Conditioning& conditioning, const Evaluation& evaluation);

// How many rows those are.
int NumRows(const Conditioning& conditioning, const Evaluation& evaluation);

// How many of them are conditional.
int ConditionalRows(const Conditioning& conditioning);

// How many they would be if guidance had no interval.
int FullRows(const Conditioning& conditioning);

// The most rows that any evaluation of `plan` takes.
int MaxRows(const Conditioning& conditioning, const SamplerPlan& plan);

// The conditional prediction of one image, sum_i w_i rows_i, [C, H, W] of [ConditionalRows(), C, H,
// W]. With guidance this is the conjunction of Liu et al. 2022, whose weights are scale * w_i.
at::Tensor BlendRows(const at::Tensor& rows, const std::vector<WeightedCondition>& conditions);

// The guided prediction of one image, both arguments and the result [C, H, W]:
// m = unconditional + scale * (conditional - unconditional), times
// rescale * std(conditional) / std(m) + 1 - rescale, each standard deviation over the whole image.
at::Tensor Guide(const at::Tensor& conditional, const at::Tensor& unconditional,
                 const Guidance& guidance);

}  // namespace denoise
