// The flags that choose a sampler and its options, the same for `plan` and `generate`: one for each
// line of core/sampling/options/option_table.h, named as it is with dashes.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "core/sampling/options/sampler_options.h"
#include "core/sampling/options/sampler_overrides.h"
#include "denoised/v1/sampler.pb.h"

namespace denoise {

// Declares the flags of what anybody may choose on `app`, which fills `overrides` in when it parses.
// Names are checked then; all else is for ApplyOverrides. A sampler's name may bring its order
// ("dpmpp_3m"), which --solver-order replaces. `overrides` outlives `app`.
void AddSamplerFlags(CLI::App& app, SamplerOverrides& overrides);

// The same with a --sampler that takes several names, separated by commas.
void AddSamplerFlags(CLI::App& app, std::vector<NamedSampler>& samplers,
                     SamplerOverrides& overrides);

// Likewise for what comes with a checkpoint, in a group of their own in the help.
inline constexpr char kCheckpointGroup[] = "Checkpoint";
void AddCheckpointFlags(CLI::App& app, SamplerOverrides& overrides);

// The sampler as --sampler takes it, with the order where the message tells and there is such a
// name: "dpmpp_2m", "ddim". "default" where the message leaves it open, "unknown" where a newer
// server names one that is not known here.
std::string SamplerFlagName(const denoised::v1::SamplerOptions& options);

}  // namespace denoise
