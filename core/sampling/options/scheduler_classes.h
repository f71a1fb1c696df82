// What the library's scheduler classes read from a scheduler_config.json. Internal to
// core/sampling.
#pragma once

#include <string_view>

#include "core/json/config_reader.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {

struct SchedulerClass {
  SamplerKind sampler = SamplerKind::kDdpm;
  // Reads the keys that not all classes have. `options` contains the class's defaults.
  void (*read)(ConfigReader& reader, SamplerOptions& options) = nullptr;
  // The class's own defaults of a variance-preserving schedule.
  BetaSchedule beta_schedule = BetaSchedule::kLinear;
  double beta_start = 1e-4;
  double beta_end = 0.02;
  bool has_zero_snr = true;  // reads rescale_betas_zero_snr
  bool has_spacing = true;   // reads timestep_spacing and steps_offset
  ScheduleFamily family = ScheduleFamily::kVariancePreserving;
};

// By name: "DDPMScheduler".
NamedValues<SchedulerClass> SchedulerClasses();

}  // namespace denoise
