// Translates a diffusers scheduler_config.json.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {

// What a checkpoint's scheduler says: the noise levels it was trained with and how it is sampled by
// default.
struct SchedulerConfig {
  std::string class_name;  // "DDPMScheduler"
  ScheduleOptions schedule;
  SamplerOptions sampler;  // `steps` is left at its default
};

// `json` is the text of a scheduler_config.json of one of the classes that scheduler_classes.cc
// lists. Absent keys take that class's defaults. InvalidArgument names an unknown class, key value
// or type. `json` is hostile: any bytes are answered, none crash.
absl::StatusOr<SchedulerConfig> ParseSchedulerConfig(std::string_view json);

// The options that the class naming `sampler` starts from.
SamplerOptions ClassDefaults(SamplerKind sampler);

// Tells a schedule that depends on it (dynamic shifting) the size of the images, in pixels.
void SetImageSize(int64_t height, int64_t width, SchedulerConfig& config);

// The options for another sampler on the same checkpoint: keys that mean the same to both are
// carried over, the others take the defaults of the class that names `sampler`.
SamplerOptions SwitchSampler(const SchedulerConfig& config, SamplerKind sampler);

}  // namespace denoise
