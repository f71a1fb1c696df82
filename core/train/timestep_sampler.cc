#include "core/train/timestep_sampler.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

// Nichol & Dhariwal 2021, section 3.3. The uniform part is that of their code.
constexpr int kHistory = 10;
constexpr double kUniformPart = 0.001;

constexpr char kLosses[] = "losses";
constexpr char kCounts[] = "counts";

std::vector<double> ToVector(const at::Tensor& x) {
  const at::Tensor values = x.to(at::kCPU, at::kDouble).contiguous();
  return {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()};
}

// Null if `state` has no such tensor.
const at::Tensor* Find(const StateDict& state, const char* name, at::IntArrayRef shape) {
  const auto found = state.find(name);
  if (found == state.end() || !found->second.defined()) return nullptr;
  const at::Tensor& tensor = found->second;
  const bool fits = tensor.scalar_type() == at::kFloat && tensor.sizes() == shape;
  return fits ? &tensor : nullptr;
}

std::vector<float> Floats(const at::Tensor& x) {
  const at::Tensor values = x.to(at::kCPU).contiguous();
  return {values.data_ptr<float>(), values.data_ptr<float>() + values.numel()};
}

bool IsLoss(float value) { return std::isfinite(value); }
bool IsCount(float value) { return value >= 0 && value <= kHistory && value == std::floor(value); }

absl::Status InvalidState(const char* what) {
  return absl::InvalidArgumentError(absl::StrCat("the state of the timestep sampler ", what));
}

}  // namespace

TimestepSampler::TimestepSampler(Schedule schedule, const ObjectiveOptions& options)
    : schedule_(std::move(schedule)), options_(options) {
  if (options_.timestep_sampling != TimestepSampling::kLossSecondMoment) return;
  const size_t timesteps = static_cast<size_t>(schedule_.num_train_timesteps());
  losses_.resize(timesteps * kHistory);
  counts_.resize(timesteps);
}

SampledTimesteps TimestepSampler::Sample(int64_t rows, at::Generator& generator) const {
  switch (options_.timestep_sampling) {
    case TimestepSampling::kUniform:
      return SampleUniform(rows, generator);
    case TimestepSampling::kLogNormal:
      return SampleLogNormal(rows, generator);
    case TimestepSampling::kLossSecondMoment:
      return SampleByLoss(rows, generator);
  }
  return {};
}

// Timesteps are sigma on a flow and log sigma on EDM's schedule, up to a factor.
SampledTimesteps TimestepSampler::SampleUniform(int64_t rows, at::Generator& generator) const {
  const double min = schedule_.timestep_min(), max = schedule_.timestep_max();
  const at::Tensor timesteps =
      schedule_.As<VpSchedule>() != nullptr
          ? at::randint(schedule_.num_train_timesteps(), {rows}, generator, at::kLong)
          : min + (max - min) * at::rand({rows}, generator, at::kDouble);
  return {ToVector(timesteps), std::vector<float>(static_cast<size_t>(rows), 1)};
}

// log(sigma / alpha) is normal: log sigma on EDM's schedule (Karras et al. 2022, table 1), logit
// sigma on a flow (Esser et al. 2024, eq. 19).
SampledTimesteps TimestepSampler::SampleLogNormal(int64_t rows, at::Generator& generator) const {
  const at::Tensor log_ratios = options_.log_normal_mean +
                                options_.log_normal_std * at::randn({rows}, generator, at::kDouble);
  SampledTimesteps sampled = {ToVector(log_ratios),
                              std::vector<float>(static_cast<size_t>(rows), 1)};
  for (double& value : sampled.timesteps) {
    const double timestep = schedule_.TimestepAt({.alpha = 1, .sigma = std::exp(value)});
    value = std::clamp(timestep, schedule_.timestep_min(), schedule_.timestep_max());
    if (schedule_.As<VpSchedule>() != nullptr) value = std::nearbyint(value);
  }
  return sampled;
}

// Proportional to the root mean square of the losses (Nichol & Dhariwal 2021, eq. 18).
std::vector<double> TimestepSampler::Probabilities() const {
  std::vector<double> probabilities;
  double total = 0;
  for (size_t t = 0; t < counts_.size(); ++t) {
    if (counts_[t] < kHistory) return {};
    double sum = 0;
    for (size_t i = t * kHistory; i < (t + 1) * kHistory; ++i)
      sum += double{losses_[i]} * losses_[i];
    probabilities.push_back(std::sqrt(sum / kHistory));
    total += probabilities.back();
  }
  if (total == 0) return {};
  const double timesteps = static_cast<double>(counts_.size());
  for (double& probability : probabilities)
    probability = (1 - kUniformPart) * probability / total + kUniformPart / timesteps;
  return probabilities;
}

SampledTimesteps TimestepSampler::SampleByLoss(int64_t rows, at::Generator& generator) const {
  const std::vector<double> probabilities = Probabilities();
  if (probabilities.empty()) return SampleUniform(rows, generator);
  std::vector<double> cumulative(probabilities.size());
  std::partial_sum(probabilities.begin(), probabilities.end(), cumulative.begin());
  SampledTimesteps sampled;
  for (double fraction : ToVector(at::rand({rows}, generator, at::kDouble))) {
    const auto above =
        std::upper_bound(cumulative.begin(), cumulative.end() - 1, fraction * cumulative.back());
    const size_t timestep = static_cast<size_t>(above - cumulative.begin());
    const double uniform = 1 / static_cast<double>(probabilities.size());
    sampled.timesteps.push_back(static_cast<double>(timestep));
    sampled.weights.push_back(static_cast<float>(uniform / probabilities[timestep]));
  }
  return sampled;
}

void TimestepSampler::Update(const std::vector<double>& timesteps, const at::Tensor& losses) {
  if (!remembers()) return;
  const std::vector<float> values = Floats(losses.detach());
  for (size_t row = 0; row < timesteps.size(); ++row) {
    if (!IsLoss(values[row])) continue;
    const size_t timestep = static_cast<size_t>(timesteps[row]);
    float* history = losses_.data() + timestep * kHistory;
    std::rotate(history, history + 1, history + kHistory);
    history[kHistory - 1] = values[row];
    counts_[timestep] = std::min(counts_[timestep] + 1, static_cast<float>(kHistory));
  }
}

StateDict TimestepSampler::state() const {
  if (!remembers()) return {};
  const int64_t timesteps = static_cast<int64_t>(counts_.size());
  return {{kLosses, at::tensor(losses_).view({timesteps, kHistory})},
          {kCounts, at::tensor(counts_)}};
}

absl::Status TimestepSampler::SetState(const StateDict& state) {
  if (!remembers()) {
    return state.empty() ? absl::OkStatus() : InvalidState("is from one that records losses");
  }
  const int64_t timesteps = static_cast<int64_t>(counts_.size());
  const at::Tensor* losses = Find(state, kLosses, {timesteps, kHistory});
  const at::Tensor* counts = Find(state, kCounts, {timesteps});
  if (state.size() != 2 || losses == nullptr || counts == nullptr) {
    return InvalidState("must be the losses and counts of this schedule's timesteps");
  }
  std::vector<float> new_losses = Floats(*losses), new_counts = Floats(*counts);
  if (!std::all_of(new_losses.begin(), new_losses.end(), IsLoss) ||
      !std::all_of(new_counts.begin(), new_counts.end(), IsCount)) {
    return InvalidState("holds impossible numbers");
  }
  losses_ = std::move(new_losses);
  counts_ = std::move(new_counts);
  return absl::OkStatus();
}

}  // namespace denoise
