// Where a generation starts and what it keeps: GenerateRequest.start and .inpainting.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/base/field_violations.h"
#include "core/diffusion/trajectory.h"
#include "core/sampling/samplers/run.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/requests/request_validation.h"

namespace denoise {

// Whether the request brings pictures, samples or prompts along. To read them is slow: such a
// request is resolved on a WorkPool.
bool IsSlowToResolve(const denoised::v1::GenerateRequest& request);

// What can be said without the model.
void CheckStart(const denoised::v1::GenerateRequest& request, FieldViolations& violations);

// The part of the sampler's run that the request asks for.
RunOptions ResolveRun(const denoised::v1::GenerateRequest& request, const RequestLimits& limits);

// The field of GenerateRequest behind a member of RunOptions; empty for any other name.
std::string_view FieldOfRun(std::string_view member);

// What a request brings along has one of these shapes: samples that of x, pictures their own.
struct InputShapes {
  SampleShape x;
  SampleShape picture;
};

// Decodes what the request brings along. Where something is in violation, the result is of no use.
Start ResolveStart(const denoised::v1::GenerateRequest& request, const InputShapes& shapes,
                   const RequestLimits& limits, FieldViolations& violations);
std::optional<Inpainting> ResolveInpainting(const denoised::v1::GenerateRequest& request,
                                            const InputShapes& shapes, const RequestLimits& limits,
                                            FieldViolations& violations);

}  // namespace denoise
