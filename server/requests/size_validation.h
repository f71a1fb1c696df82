// How large the images of a request are.
#pragma once

#include "core/base/field_violations.h"
#include "core/nn/network.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/models/model.h"
#include "server/requests/request_validation.h"

namespace denoise {

// The shape of x for a request: the model's own, or as GenerateRequest.height and .width ask for.
// Where something is in violation, the model's own.
SampleShape ResolveShape(const denoised::v1::GenerateRequest& request, const Model& model,
                         const RequestLimits& limits, FieldViolations& violations);

// The shape of its pictures, channels and pixels.
SampleShape PictureShapeOf(const Model& model, const SampleShape& x);

}  // namespace denoise
