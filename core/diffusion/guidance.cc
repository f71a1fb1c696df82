#include "core/diffusion/guidance.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/std.h>
#include <ATen/ops/where.h>

#include <algorithm>

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

std::vector<int64_t> RowLabels(const Conditioning& conditioning, const Evaluation& evaluation) {
  std::vector<int64_t> labels;
  for (const ClassWeight& entry : conditioning.class_weights) labels.push_back(entry.class_label);
  if (labels.empty()) labels.push_back(0);
  if (IsGuided(conditioning, evaluation)) {
    labels.push_back(conditioning.null_class_label.value_or(0));
  }
  return labels;
}

std::vector<double> RowWeights(const Conditioning& conditioning, const Evaluation& evaluation) {
  std::vector<double> weights(ConditionalRows(conditioning), 1.0);
  for (size_t i = 0; weights.size() > 1 && i < weights.size(); ++i) {
    weights[i] = conditioning.class_weights[i].weight;
  }
  if (!IsGuided(conditioning, evaluation)) return weights;
  for (double& weight : weights) weight *= conditioning.guidance.scale;
  weights.push_back(1 - conditioning.guidance.scale);
  return weights;
}

int ConditionalRows(const Conditioning& conditioning) {
  return std::max(1, static_cast<int>(conditioning.class_weights.size()));
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

at::Tensor BlendRows(const at::Tensor& rows, const std::vector<ClassWeight>& class_weights) {
  if (rows.size(0) == 1) return rows[0];
  at::Tensor blend = rows[0] * class_weights[0].weight;
  for (int64_t i = 1; i < rows.size(0); ++i) blend += rows[i] * class_weights[i].weight;
  return blend;
}

at::Tensor Guide(const at::Tensor& conditional, const at::Tensor& unconditional,
                 const Guidance& guidance) {
  const at::Tensor m = unconditional + guidance.scale * (conditional - unconditional);
  if (guidance.rescale == 0) return m;
  return m * RescaleFactor(conditional, m, guidance.rescale);
}

}  // namespace denoise
