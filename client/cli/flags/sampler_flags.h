// The flags that choose a sampler and its options: a row for each line of
// core/sampling/options/option_table.h, named like it with dashes.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "client/cli/flags/message_flags.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/options/sampler_overrides.h"
#include "denoised/v1/sampler.pb.h"

namespace denoise {

// A row for each option that a request may set, over the fields of the SamplerOptions at `path`
// ("sampler"). A sampler's name may bring its order ("dpmpp_3m"), which --solver-order replaces.
// Whether options suit the sampler is for ApplyOverrides to say, here or on the server.
FlagTable SamplerFlags(const std::string& path);

// Declares a --sampler that takes several names, separated by commas. `samplers` outlives `app`.
void AddSamplerList(CLI::App& app, std::vector<NamedSampler>& samplers);

// The options that come with a checkpoint are no fields of a message. The names of their flags,
// with fields as errors call them ("sampler.steps_offset"), and their declaration in a help group
// of their own. `overrides` outlives `app`.
inline constexpr char kCheckpointGroup[] = "Checkpoint";
FlagTable CheckpointFlags(const std::string& path);
void AddCheckpointFlags(CLI::App& app, SamplerOverrides& overrides);

// The sampler as --sampler takes it, with its order where the message has one and a name for it
// exists: "dpmpp_2m", "ddim". "default" where the message leaves it open, "unknown" where a newer
// server names one that is not known here.
std::string SamplerFlagName(const denoised::v1::SamplerOptions& options);

}  // namespace denoise
