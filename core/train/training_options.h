// Everything that a training job may choose about training, as plain data. No LibTorch.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"

namespace denoise {

enum class LossKind {
  kSimple,            // L_simple: Ho et al. 2020, eq. 14, of what the network predicts
  kVariationalBound,  // L_vlb, one term a picture: Ho et al. 2020, eq. 5
  kHybrid,            // L_simple + vlb_weight L_vlb: Nichol & Dhariwal 2021, eq. 16
};

// Of the squared error, as a function of the signal-to-noise ratio.
enum class LossWeighting {
  kUniform,
  kMinSnr,  // min(SNR, gamma) of the error in x0: Hang et al. 2023
  kP2,      // 1 / (k + SNR)^gamma of the error in epsilon: Choi et al. 2022
  kEdm,     // (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 of that in x0: Karras et al. 2022
};

enum class TimestepSampling {
  kUniform,
  kLossSecondMoment,  // importance sampling: Nichol & Dhariwal 2021, section 3.3
  kLogNormal,         // log sigma, or on a flow logit sigma, is normal
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
  double label_dropout = 0;  // the part of rows that are told the null class; needs one
};

enum class LearningRateDecay { kConstant, kCosine, kLinear };

// AdamW (Loshchilov & Hutter 2019).
struct OptimizerOptions {
  double learning_rate = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  double max_gradient_norm = 1;                            // 0: no bound
  int64_t warmup_steps = 0;                                // the rate rises from 0 over these
  LearningRateDecay decay = LearningRateDecay::kConstant;  // to 0 at max_steps
};

struct AugmentationOptions {
  bool horizontal_flip = false;  // with probability 1/2
  double random_crop_scale = 1;  // resized to this many times the size, then a random window
};

// What the network computes in. Weights, losses, optimiser and averages stay float32.
enum class TrainingPrecision { kFloat32, kBFloat16, kFloat16 };  // the last with loss scaling

struct TrainingOptions {
  ObjectiveOptions objective;
  OptimizerOptions optimizer;
  AugmentationOptions augmentation;
  int64_t max_steps = 0;     // optimiser steps, at least 1
  int batch_size = 64;       // pictures a step
  int micro_batch_size = 8;  // pictures a network call; the last of a step may be fewer
  uint64_t seed = 0;         // of everything random
  std::vector<double> ema_decays = {0.999};  // 1 to 4, each in (0, 1)
  TrainingPrecision precision = TrainingPrecision::kFloat32;
  int max_non_finite_steps = 10;  // in a row; then training stops
};

// InvalidArgument with a field violation for everything that is out of its range by itself, named
// as the members ("optimizer.learning_rate").
absl::Status ValidateTrainingOptions(const TrainingOptions& options);

}  // namespace denoise
