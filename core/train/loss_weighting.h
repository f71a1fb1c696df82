// How much an error counts at each noise level.
#pragma once

#include "core/sampling/schedules/noise_level.h"
#include "core/train/training_options.h"

namespace denoise {

// The weight of the squared error in x0 at `level`, where `weighting` is none of kUniform. Only kEdm
// reads `sigma_data`.
double X0Weight(const ObjectiveOptions& options, const NoiseLevel& level, double sigma_data);

// The weight of the squared error in what the network says, which x0 has `x0_from_output` times of.
// An error in the output is an error in x0 so many times as large: networks that predict different
// things are trained alike, but with kUniform, which is uniform in what each of them says.
double OutputWeight(const ObjectiveOptions& options, const NoiseLevel& level, double x0_from_output,
                    double sigma_data);

}  // namespace denoise
