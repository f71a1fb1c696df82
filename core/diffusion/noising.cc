#include "core/diffusion/noising.h"

#include <cmath>
#include <utility>

namespace denoise {

std::vector<NoisingStop> LayOutNoising(const Schedule& schedule,
                                       const std::vector<double>& timesteps, NoisingMode mode) {
  const bool every_timestep =
      mode == NoisingMode::kStepByStep && schedule.As<VpSchedule>() != nullptr;
  std::vector<NoisingStop> stops;
  double next_whole = 0;
  for (const double timestep : timesteps) {
    for (; every_timestep && next_whole < timestep; ++next_whole) {
      stops.push_back({next_whole, /*shown=*/false});
    }
    if (next_whole == timestep) ++next_whole;
    stops.push_back({timestep, /*shown=*/true});
  }
  return stops;
}

std::vector<double> EvenTimesteps(const Schedule& schedule, int count) {
  double first = schedule.timestep_min(), last = schedule.timestep_max();
  if (schedule.LevelAt(last).lambda() > schedule.LevelAt(first).lambda()) std::swap(first, last);
  const bool discrete = schedule.As<VpSchedule>() != nullptr;
  std::vector<double> timesteps;
  for (int i = 1; i <= count; ++i) {
    const double even = first + (last - first) * i / count;
    const double timestep = discrete ? std::round(even) : even;
    if (timesteps.empty() || timestep != timesteps.back()) timesteps.push_back(timestep);
  }
  return timesteps;
}

Noising::Noising(const ForwardProcess* process, at::Tensor x0, uint64_t seed, NoisingMode mode)
    : process_(process),
      mode_(mode),
      noise_source_(seed),
      x_(std::move(x0)),
      timestep_(process->schedule().image_timestep()) {}

at::Tensor Noising::Step(double timestep) {
  const at::Tensor batch = x_.unsqueeze(0);
  if (mode_ == NoisingMode::kClosedForm) {
    if (!epsilon_.defined()) epsilon_ = noise_source_.Draw(x_.sizes());
    return process_->Marginal(batch, {timestep}).At(epsilon_)[0];
  }
  const at::Tensor noise = noise_source_.Draw(x_.sizes());
  x_ = process_->Step(batch, {timestep_}, {timestep}).At(noise)[0];
  timestep_ = timestep;
  return x_;
}

}  // namespace denoise
