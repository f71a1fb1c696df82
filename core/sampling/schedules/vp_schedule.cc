#include "core/sampling/schedules/vp_schedule.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/sampling/schedules/linspace.h"
#include "core/sampling/schedules/schedule_validation.h"

namespace denoise {
namespace {

// The least alphas_cumprod before the last one: below it a double has no digits left.
constexpr double kLeastSignal = std::numeric_limits<double>::min();

bool IsBeta(double beta) { return beta > 0 && beta < 1; }

void CheckBeta(double beta, std::string_view field, FieldViolations& violations) {
  if (!IsBeta(beta)) violations.Add(field, absl::StrCat("must be between 0 and 1, is ", beta));
}

absl::Status Validate(const VpOptions& options) {
  FieldViolations violations;
  const bool trained = !options.trained_betas.empty();
  const int64_t timesteps =
      trained ? static_cast<int64_t>(options.trained_betas.size()) : options.num_train_timesteps;
  CheckTrainTimesteps(timesteps, trained ? "trained_betas" : "num_train_timesteps", violations);
  if (trained) {
    const auto bad =
        std::find_if_not(options.trained_betas.begin(), options.trained_betas.end(), IsBeta);
    if (bad != options.trained_betas.end()) CheckBeta(*bad, "trained_betas", violations);
  } else if (options.beta_schedule != BetaSchedule::kSquaredCosCapV2) {
    CheckBeta(options.beta_start, "beta_start", violations);
    CheckBeta(options.beta_end, "beta_end", violations);
  }
  if (options.rescale_betas_zero_snr && timesteps < 2) {
    violations.Add("rescale_betas_zero_snr", "needs at least 2 training timesteps");
  }
  return violations.ToStatus();
}

// The cosine schedule (Nichol & Dhariwal 2021, eq. 17), each beta at most 0.999.
std::vector<double> CosineBetas(int timesteps) {
  const auto alpha_bar = [](double t) {
    return std::pow(std::cos((t + 0.008) / 1.008 * std::numbers::pi / 2), 2);
  };
  std::vector<double> betas(timesteps);
  for (int i = 0; i < timesteps; ++i) {
    const double from = static_cast<double>(i) / timesteps;
    const double to = static_cast<double>(i + 1) / timesteps;
    betas[i] = std::min(1 - alpha_bar(to) / alpha_bar(from), 0.999);
  }
  return betas;
}

std::vector<double> Betas(const VpOptions& options) {
  if (!options.trained_betas.empty()) return options.trained_betas;
  const int timesteps = options.num_train_timesteps;
  const double start = options.beta_start, end = options.beta_end;
  std::vector<double> betas;
  switch (options.beta_schedule) {
    case BetaSchedule::kLinear:
      return Linspace(start, end, timesteps);
    case BetaSchedule::kScaledLinear:
      betas = Linspace(std::sqrt(start), std::sqrt(end), timesteps);
      for (double& beta : betas) beta *= beta;
      return betas;
    case BetaSchedule::kSquaredCosCapV2:
      return CosineBetas(timesteps);
    case BetaSchedule::kSigmoid:
      betas = Linspace(-6, 6, timesteps);
      for (double& beta : betas) beta = start + (end - start) / (1 + std::exp(-beta));
      return betas;
  }
  return betas;
}

std::vector<double> CumulativeAlphas(const std::vector<double>& betas) {
  std::vector<double> alphas_cumprod(betas.size());
  double product = 1;
  for (size_t t = 0; t < betas.size(); ++t) alphas_cumprod[t] = product *= 1 - betas[t];
  return alphas_cumprod;
}

NoiseLevel LevelOfAlphaCumprod(double alpha_cumprod) {
  return {std::sqrt(alpha_cumprod), std::sqrt(1 - alpha_cumprod)};
}

// Shifts and scales sqrt(alphas_cumprod) so that the last one becomes 0 and the first stays (Lin et
// al. 2023, algorithm 1).
std::vector<double> RescaleToZeroTerminalSnr(const std::vector<double>& betas) {
  std::vector<double> alphas_cumprod = CumulativeAlphas(betas);
  const double first = std::sqrt(alphas_cumprod.front());
  const double last = std::sqrt(alphas_cumprod.back());
  for (double& value : alphas_cumprod) {
    value = std::pow((std::sqrt(value) - last) * (first / (first - last)), 2);
  }
  std::vector<double> rescaled(betas.size());
  double before = 1;
  for (size_t t = 0; t < betas.size(); ++t) {
    rescaled[t] = 1 - alphas_cumprod[t] / before;
    before = alphas_cumprod[t];
  }
  return rescaled;
}

}  // namespace

absl::StatusOr<VpSchedule> VpSchedule::Create(const VpOptions& options) {
  RETURN_IF_ERROR(Validate(options));
  std::vector<double> betas = Betas(options);
  if (options.rescale_betas_zero_snr) betas = RescaleToZeroTerminalSnr(betas);
  if (!std::all_of(betas.begin(), betas.end(), [](double beta) { return std::isfinite(beta); })) {
    return InvalidField("rescale_betas_zero_snr", "cannot be applied: too little signal is left");
  }
  std::vector<double> alphas_cumprod = CumulativeAlphas(betas);
  if (betas.size() > 1 && alphas_cumprod[betas.size() - 2] < kLeastSignal) {
    return InvalidField(options.trained_betas.empty() ? "beta_end" : "trained_betas",
                        "leaves no signal before the last timestep");
  }
  return VpSchedule(options, std::move(betas), std::move(alphas_cumprod));
}

VpSchedule::VpSchedule(VpOptions options, std::vector<double> betas,
                       std::vector<double> alphas_cumprod)
    : options_(std::move(options)),
      betas_(std::move(betas)),
      alphas_cumprod_(std::move(alphas_cumprod)) {
  log_ratios_.reserve(alphas_cumprod_.size());
  for (double value : alphas_cumprod_) {
    log_ratios_.push_back(0.5 * (std::log1p(-value) - std::log(value)));
  }
}

// Sums of fractions of timesteps can end a rounding error beyond the last one.
NoiseLevel VpSchedule::LevelAt(double timestep) const {
  timestep = std::min(timestep, timestep_max());
  const double floor = std::floor(timestep);
  const double fraction = timestep - floor;
  const auto alpha_cumprod = [this](double t) {
    return t < 0 ? 1.0 : alphas_cumprod_[static_cast<size_t>(t)];
  };
  if (fraction == 0) return LevelOfAlphaCumprod(alpha_cumprod(floor));
  return LevelOfAlphaCumprod((1 - fraction) * alpha_cumprod(floor) +
                             fraction * alpha_cumprod(floor + 1));
}

double VpSchedule::RatioAt(double timestep) const {
  timestep = std::clamp(timestep, 0.0, timestep_max());
  const double floor = std::floor(timestep);
  const double fraction = timestep - floor;
  const size_t index = static_cast<size_t>(floor);
  const double below = std::exp(log_ratios_[index]);
  return fraction == 0 ? below
                       : (1 - fraction) * below + fraction * std::exp(log_ratios_[index + 1]);
}

double VpSchedule::TimestepAt(double log_ratio) const {
  const auto above = std::upper_bound(log_ratios_.begin(), log_ratios_.end(), log_ratio);
  if (above == log_ratios_.begin()) return 0;
  if (above == log_ratios_.end()) return num_train_timesteps() - 1.0;
  const double low = *(above - 1);
  return static_cast<double>(above - 1 - log_ratios_.begin()) + (log_ratio - low) / (*above - low);
}

VpSchedule VpSchedule::WithSignal() const {
  constexpr double kLeastAlphaCumprod = 1.0 / (1 << 24);
  if (alphas_cumprod_.back() > 0) return *this;
  std::vector<double> alphas_cumprod = alphas_cumprod_;
  alphas_cumprod.back() = kLeastAlphaCumprod;
  return VpSchedule(options_, betas_, std::move(alphas_cumprod));
}

}  // namespace denoise
