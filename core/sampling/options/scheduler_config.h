// Translates a diffusers scheduler_config.json.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {

// A checkpoint's scheduler: the noise schedule it was trained with, and its default sampler.
struct SchedulerConfig {
  std::string class_name;  // "DDPMScheduler"
  ScheduleOptions schedule;
  SamplerOptions sampler;  // `steps` is left at its default
  // The keys that mean nothing to the class (ConfigReader::UnknownKeys), for a note to the user.
  std::vector<std::string> ignored_keys = {};
};

// Parses a scheduler_config.json of one of the classes in scheduler_classes.cc. Absent keys take
// that class's defaults, and names from older releases mean what they meant. As in the library,
// keys that the class does not have are ignored: configs keep the keys of a class that they were
// converted from. InvalidArgument names an unknown class, value or type. `json` may be any bytes.
absl::StatusOr<SchedulerConfig> ParseSchedulerConfig(std::string_view json);

// The default options of the class for `sampler`.
SamplerOptions ClassDefaults(SamplerKind sampler);

// Sets the size of the images in pixels, for schedules that depend on it (dynamic shifting).
void SetImageSize(int64_t height, int64_t width, SchedulerConfig& config);

// The options for another sampler on the same checkpoint. Keys with the same meaning for both are
// kept; the others take the defaults of the class for `sampler`.
SamplerOptions SwitchSampler(const SchedulerConfig& config, SamplerKind sampler);

}  // namespace denoise
