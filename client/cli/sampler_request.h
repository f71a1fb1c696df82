// Sampler flags and sampler messages.
#pragma once

#include <string>

#include "client/cli/sampler_flags.h"
#include "denoised/v1/sampler.pb.h"

namespace denoise {

// What was not given stays absent, which is the model's default.
denoised::v1::SamplerOptions ToProto(const SamplerFlags& flags);

// The sampler as --sampler takes it, with the order for the DPM-Solver family where the message
// tells: "dpmpp_2m", "ddim". "default" where the message leaves it open.
std::string SamplerFlagName(const denoised::v1::SamplerOptions& options);

}  // namespace denoise
