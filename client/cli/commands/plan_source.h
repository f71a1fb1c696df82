// The plans that `denoise plan` shows: compiled here, or by a server for one of its models.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/display/plan_text.h"
#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/message_flags.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/options/sampler_overrides.h"
#include "core/sampling/samplers/plan.h"
#include "denoised/v1/image_generation.pb.h"
#include "denoised/v1/sampler_plan.pb.h"

namespace denoise {

struct PlanSource {
  ConnectionFlags connection;
  std::string scheduler_config;        // a file; empty: DDPM's linear schedule
  std::vector<NamedSampler> samplers;  // empty: the default one
  // For all samplers: what a request may set, and what comes with a checkpoint.
  denoised::v1::PlanSamplerRequest request;
  SamplerOverrides checkpoint;
};

// The plan in an answer to PlanSampler. Internal if it is not a valid plan: the server is not
// trusted.
absl::StatusOr<SamplerPlan> ReceivePlan(const denoised::v1::SamplerPlan& message);

// The flags of PlanSamplerRequest but for --sampler, which takes several here.
const FlagTable& PlanTable();
// Those and every other flag that an error of GetPlans may name.
const FlagTable& PlanErrorTable();

// A plan for each sampler, compiled here unless the request names a model. InvalidArgument names
// fields as a request does ("sampler.steps", "model"), or "scheduler_config" and its keys.
absl::StatusOr<std::vector<ShownPlan>> GetPlans(const PlanSource& source);

// A sentence that names the keys of the scheduler config that mean nothing to its class; empty if
// there are none, or no config.
std::string IgnoredKeysNote(const PlanSource& source);

}  // namespace denoise
