// What a training job minimises and how: Objective and Optimizer of the contract, defaults filled in,
// and as the core has them.
#pragma once

#include "core/base/field_violations.h"
#include "core/train/training_options.h"
#include "denoised/v1/training.pb.h"
#include "server/models/model.h"

namespace denoise {

// Fills in the defaults for a network like `model`: of what the objective reads, and no more. Values
// of enumerations that are not known, and fields that are set but read by nothing, are added to
// `violations`, named from TrainingSettings; whether the rest suits is for ObjectiveOptionsOf and
// Objective::Create to say.
void ResolveObjective(const Model& model, denoised::v1::Objective& objective,
                      FieldViolations& violations);
void ResolveOptimizer(denoised::v1::Optimizer& optimizer, FieldViolations& violations);

// Of resolved messages.
ObjectiveOptions ObjectiveOptionsOf(const denoised::v1::Objective& objective);
OptimizerOptions OptimizerOptionsOf(const denoised::v1::Optimizer& optimizer);

}  // namespace denoise
