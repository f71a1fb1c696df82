#include "core/diffusion/guidance.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/std.h>
#include <ATen/ops/where.h>

#include <algorithm>

#include "core/base/check.h"

namespace denoise {
namespace {

// How much flatter the prediction becomes. A prediction without contrast stays as it is.
at::Tensor RescaleFactor(const at::Tensor& conditional, const at::Tensor& m, double rescale) {
  const at::Tensor deviation = at::std(m, /*unbiased=*/true);
  const at::Tensor ratio =
      at::where(deviation > 0, at::std(conditional, true) / deviation, at::ones_like(deviation));
  return rescale * ratio + (1 - rescale);
}

}  // namespace

bool IsGuided(const Conditioning& conditioning, const Evaluation& evaluation) {
  const Guidance& guidance = conditioning.guidance;
  return guidance.scale != 1 && guidance.timesteps.Contains(evaluation.timestep) &&
         guidance.sigmas.Contains(evaluation.sigma / evaluation.alpha);
}

std::vector<SharedCondition> RowConditions(const Conditioning& conditioning,
                                           const Evaluation& evaluation) {
  std::vector<SharedCondition> rows;
  for (const WeightedCondition& entry : conditioning.conditions) rows.push_back(entry.condition);
  if (IsGuided(conditioning, evaluation)) {
    DENOISE_DCHECK(conditioning.unconditional != nullptr);
    rows.push_back(conditioning.unconditional);
  }
  return rows;
}

std::vector<double> RowWeights(const Conditioning& conditioning, const Evaluation& evaluation) {
  std::vector<double> weights;
  for (const WeightedCondition& entry : conditioning.conditions) weights.push_back(entry.weight);
  if (!IsGuided(conditioning, evaluation)) return weights;
  for (double& weight : weights) weight *= conditioning.guidance.scale;
  weights.push_back(1 - conditioning.guidance.scale);
  return weights;
}

int ConditionalRows(const Conditioning& conditioning) {
  return static_cast<int>(conditioning.conditions.size());
}

int NumRows(const Conditioning& conditioning, const Evaluation& evaluation) {
  return ConditionalRows(conditioning) + (IsGuided(conditioning, evaluation) ? 1 : 0);
}

int FullRows(const Conditioning& conditioning) {
  return ConditionalRows(conditioning) + (conditioning.guidance.scale != 1 ? 1 : 0);
}

int MaxRows(const Conditioning& conditioning, const SamplerPlan& plan) {
  int most = 0;
  for (const Evaluation& evaluation : plan.evaluations) {
    most = std::max(most, NumRows(conditioning, evaluation));
  }
  return most;
}

at::Tensor BlendRows(const at::Tensor& rows, const std::vector<WeightedCondition>& conditions) {
  if (rows.size(0) == 1) return rows[0];
  at::Tensor blend = rows[0] * conditions[0].weight;
  for (int64_t i = 1; i < rows.size(0); ++i) blend += rows[i] * conditions[i].weight;
  return blend;
}

at::Tensor Guide(const at::Tensor& conditional, const at::Tensor& unconditional,
                 const Guidance& guidance) {
  const at::Tensor m = unconditional + guidance.scale * (conditional - unconditional);
  if (guidance.rescale == 0) return m;
  return m * RescaleFactor(conditional, m, guidance.rescale);
}

}  // namespace denoise
