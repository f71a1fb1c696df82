// What a request says of classes and guidance, checked and resolved.
#pragma once

#include "core/base/field_violations.h"
#include "core/diffusion/guidance.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/models/model.h"
#include "server/requests/request_validation.h"

namespace denoise {

// What can be said without the model.
void CheckGuidance(const denoised::v1::Guidance& guidance, FieldViolations& violations);

// What only the model can say: which classes there are, and whether it can be guided.
void CheckConditioning(const denoised::v1::GenerateRequest& request, const Model& model,
                       const RequestLimits& limits, FieldViolations& violations);

// What the request asks for, or the model's own.
Guidance ResolveGuidance(const denoised::v1::GenerateRequest& request, const Model& model);

// Of a request without violations to a model without prompts. Class weights sum to 1.
Conditioning ResolveConditioning(const denoised::v1::GenerateRequest& request, const Model& model);

}  // namespace denoise
