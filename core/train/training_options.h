// The options of a training run, as plain data. No LibTorch.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"

namespace denoise {

enum class LossKind {
  kSimple,            // L_simple: Ho et al. 2020, eq. 14, of what the network predicts
  kVariationalBound,  // L_vlb, one term per picture: Ho et al. 2020, eq. 5
  kHybrid,            // L_simple + vlb_weight L_vlb: Nichol & Dhariwal 2021, eq. 16
};

// How the squared error is weighted, as a function of the signal-to-noise ratio.
enum class LossWeighting {
  kUniform,
  kMinSnr,  // min(SNR, gamma) of the error in x0: Hang et al. 2023
  kP2,      // 1 / (k + SNR)^gamma of the error in epsilon: Choi et al. 2022
  kEdm,  // (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 of the error in x0: Karras et al. 2022
};

enum class TimestepSampling {
  kUniform,
  kLossSecondMoment,  // importance sampling: Nichol & Dhariwal 2021, section 3.3
  kLogNormal,         // log sigma is normal; on a flow, logit sigma
};

struct ObjectiveOptions {
  LossKind loss = LossKind::kSimple;
  double vlb_weight = 0.001;
  LossWeighting weighting = LossWeighting::kUniform;
  double min_snr_gamma = 5;
  double p2_gamma = 1;
  double p2_k = 1;
  TimestepSampling timestep_sampling = TimestepSampling::kUniform;
  double log_normal_mean = -1.2;
  double log_normal_std = 1.2;
  double label_dropout = 0;  // fraction of rows that get the null class, which the model must have
};

enum class LearningRateDecay { kConstant, kCosine, kLinear };

// AdamW (Loshchilov & Hutter 2019).
struct OptimizerOptions {
  double learning_rate = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  double max_gradient_norm = 1;                            // 0: no clipping
  int64_t warmup_steps = 0;                                // over which the rate rises from 0
  LearningRateDecay decay = LearningRateDecay::kConstant;  // to 0 at max_steps
};

struct AugmentationOptions {
  bool horizontal_flip = false;  // with probability 1/2
  double random_crop_scale = 1;  // resize to this many times the size, then crop a random window
};

// The precision of network calls. Weights, losses, optimiser and averages are always float32.
enum class TrainingPrecision { kFloat32, kBFloat16, kFloat16 };  // the last with loss scaling

struct TrainingOptions {
  ObjectiveOptions objective;
  OptimizerOptions optimizer;
  AugmentationOptions augmentation;
  int64_t max_steps = 0;     // optimiser steps, at least 1
  int batch_size = 64;       // pictures per step
  int micro_batch_size = 8;  // pictures per network call; the last of a step may have fewer
  uint64_t seed = 0;         // for everything random
  std::vector<double> ema_decays = {0.999};  // 1 to 4, each in (0, 1)
  TrainingPrecision precision = TrainingPrecision::kFloat32;
  int max_non_finite_steps = 10;  // consecutive ones after which training stops
};

// InvalidArgument with a field violation for every value that is out of range by itself, named like
// the members ("optimizer.learning_rate").
absl::Status ValidateTrainingOptions(const TrainingOptions& options);

}  // namespace denoise
