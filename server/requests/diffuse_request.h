// From a DiffuseRequest to something that can be run, or everything that is wrong with it.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/diffusion/noising.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/models/model_repository.h"
#include "server/requests/request_validation.h"

namespace denoise {

struct ResolvedDiffusion {
  ModelHandle model;
  std::vector<double> timesteps;  // of the frames
  NoisingMode mode;
  uint64_t seed;
  denoised::v1::Encoding encoding;
  denoised::v1::DiffuseAccepted accepted;
};

// All but the pictures themselves, which take time to decode (Diffusion). InvalidArgument carries
// every violation, by its path in the request; NotFound says which model. `seed` is what a request
// gets that names none. Pure, thread-safe; the work is bounded by `limits`.
absl::StatusOr<ResolvedDiffusion> ResolveDiffusion(const denoised::v1::DiffuseRequest& request,
                                                   const ModelRepository& models,
                                                   const RequestLimits& limits, uint64_t seed);

}  // namespace denoise
