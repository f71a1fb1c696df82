#include "core/sampling/options/scheduler_config.h"

#include <algorithm>

#include "core/sampling/options/option_names.h"
#include "core/sampling/samplers/compile_plan.h"
#include "tests/fuzz/fuzz_target.h"

namespace denoise {
namespace {

// Whatever a config says, each sampler compiles or says why not.
void CompileEverySampler(const SchedulerConfig& config, const Schedule& schedule) {
  for (const auto& [name, sampler] : kNames<SamplerKind>) {
    SamplerOptions options = SwitchSampler(config, sampler);
    options.steps = std::min(7, schedule.num_train_timesteps());
    const absl::StatusOr<SamplerPlan> plan = CompilePlan(schedule, options);
    Require(plan.ok() ? !plan->evaluations.empty() : absl::IsInvalidArgument(plan.status()),
            "a sampler compiles, or the config is INVALID_ARGUMENT");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<SchedulerConfig> config = ParseSchedulerConfig(AsText(data, size));
  if (!config.ok()) {
    Require(absl::IsInvalidArgument(config.status()), "a bad config is INVALID_ARGUMENT");
    return 0;
  }
  const absl::StatusOr<Schedule> schedule = Schedule::Create(config->schedule);
  if (!schedule.ok()) {
    Require(absl::IsInvalidArgument(schedule.status()), "a bad schedule is INVALID_ARGUMENT");
    return 0;
  }
  CompileEverySampler(*config, *schedule);
  return 0;
}

}  // namespace denoise
