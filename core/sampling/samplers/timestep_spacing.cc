#include "core/sampling/samplers/timestep_spacing.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/field_violations.h"

namespace denoise {
namespace {

// Evenly spaced from the last timestep down to 0, rounded half to even unless fractional. Where
// there are more points than timesteps, some round to the same one, which is listed once.
std::vector<double> LinspaceTimesteps(const SpacingRange& range, int steps) {
  const int points = range.leave_out_last ? steps + 1 : steps;
  const double stride = points > 1 ? (range.end - 1.0) / (points - 1) : 0;
  std::vector<double> timesteps;
  for (int i = points - 1; i >= points - steps; --i) {
    const bool first = i == points - 1 && points > 1;
    const double timestep = first ? range.end - 1.0 : i * stride;
    const double listed = range.fractional ? timestep : std::nearbyint(timestep);
    if (timesteps.empty() || listed < timesteps.back()) timesteps.push_back(listed);
  }
  return timesteps;
}

// Multiples of a whole stride, plus steps_offset.
absl::StatusOr<std::vector<double>> Leading(const SpacingRange& range, int steps,
                                            int steps_offset) {
  const int skipped = range.leave_out_last ? 1 : 0;
  const int stride = range.end / (steps + skipped);
  if (stride == 0) {
    return InvalidField("steps", absl::StrCat("must be at most ", range.end - skipped,
                                              " with leading timesteps, is ", steps));
  }
  const int64_t first = int64_t{steps - 1 + skipped} * stride + steps_offset;
  if (first >= range.num_train_timesteps) {
    return InvalidField("steps_offset",
                        absl::StrCat("puts the first timestep at ", first, ", past the last, ",
                                     range.num_train_timesteps - 1));
  }
  std::vector<double> timesteps;
  for (int i = steps - 1 + skipped; i >= skipped; --i)
    timesteps.push_back(i * stride + steps_offset);
  return timesteps;
}

// From the end down by a fractional stride. The stride is computed like in numpy's arange (second
// value minus first), so that values halfway between two timesteps round the same way.
std::vector<double> Trailing(const SpacingRange& range, int steps) {
  const double start = range.end;
  const double stride = start - (start - static_cast<double>(range.num_train_timesteps) / steps);
  std::vector<double> timesteps;
  for (int i = 0; i < steps; ++i) {
    const double timestep = std::nearbyint(start - i * stride) - 1;
    if (timestep < 0) break;
    timesteps.push_back(timestep);
  }
  return timesteps;
}

}  // namespace

absl::StatusOr<std::vector<double>> SpaceTimesteps(const SpacingRange& range,
                                                   const SamplerOptions& options) {
  DENOISE_DCHECK(options.steps >= 1 && options.steps <= range.num_train_timesteps);
  switch (options.timestep_spacing) {
    case TimestepSpacing::kLeading:
      return Leading(range, options.steps, options.steps_offset);
    case TimestepSpacing::kTrailing:
      return Trailing(range, options.steps);
    case TimestepSpacing::kLinspace:
      return LinspaceTimesteps(range, options.steps);
  }
  return std::vector<double>();
}

absl::StatusOr<std::vector<double>> SectionTimesteps(int num_train_timesteps,
                                                     const std::vector<int>& counts) {
  const size_t sections = counts.size();
  if (sections == 0 || sections > static_cast<size_t>(num_train_timesteps)) {
    return InvalidField("counts", absl::StrCat("must list between 1 and ", num_train_timesteps,
                                               " sections, lists ", sections));
  }
  std::vector<double> timesteps;
  int first = 0;
  for (size_t i = 0; i < sections; ++i) {
    const size_t longer = static_cast<size_t>(num_train_timesteps) % sections;  // by one
    const int size = num_train_timesteps / static_cast<int>(sections) + (i < longer ? 1 : 0);
    if (counts[i] < 1 || counts[i] > size) {
      return InvalidField(absl::StrCat("counts[", i, "]"),
                          absl::StrCat("must be between 1 and ", size,
                                       " timesteps of the section, is ", counts[i]));
    }
    // The offset is accumulated, so that values halfway between two timesteps round like the
    // published ones.
    const double stride = counts[i] > 1 ? (size - 1.0) / (counts[i] - 1) : 0;
    double offset = 0;
    for (int j = 0; j < counts[i]; ++j, offset += stride) {
      timesteps.push_back(first + std::nearbyint(offset));
    }
    first += size;
  }
  std::reverse(timesteps.begin(), timesteps.end());
  return timesteps;
}

std::vector<double> DistilledTimesteps(int num_train_timesteps, const SamplerOptions& options) {
  const int original = options.original_inference_steps;
  DENOISE_DCHECK(options.steps >= 1 && options.steps <= original);
  DENOISE_DCHECK(original <= num_train_timesteps);
  const int stride = num_train_timesteps / original;
  const double skip = static_cast<double>(original) / options.steps;
  std::vector<double> timesteps;
  for (int i = 0; i < options.steps; ++i)
    timesteps.push_back((original - std::floor(i * skip)) * stride - 1);
  return timesteps;
}

}  // namespace denoise
