// The plans that `denoise plan` shows: compiled here, or by a server for one of its models.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/flags/connection_flags.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/options/sampler_overrides.h"
#include "core/sampling/samplers/plan.h"
#include "denoised/v1/sampler_plan.pb.h"

namespace denoise {

struct PlanSource {
  ConnectionFlags connection;
  std::string model;                   // asks the server; empty: compiles here
  std::string scheduler_config;        // a file; empty: DDPM's linear schedule
  std::vector<NamedSampler> samplers;  // empty: the default one
  SamplerOverrides options;            // for all of them
};

// Text is fit for a terminal.
struct ShownPlan {
  std::string sampler;  // "dpmpp of order 2"
  std::string model;    // "emoji-32, version 1f0c"; empty where it was compiled here
  SamplerPlan plan;
};

// What the server answered PlanSampler with. Internal where that is no plan: the server is not to be
// trusted.
absl::StatusOr<SamplerPlan> ReceivePlan(const denoised::v1::SamplerPlan& message);

// A plan for each sampler. InvalidArgument carries violations named as in a request
// ("sampler.steps", "model"), or "scheduler_config" and its keys.
absl::StatusOr<std::vector<ShownPlan>> GetPlans(const PlanSource& source);

}  // namespace denoise
