// From a request to something the engine can run, or everything that is wrong with it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/engine/generation.h"
#include "server/models/model_repository.h"
#include "server/requests/adapter_validation.h"

namespace denoise {

// What one request may ask for.
struct RequestLimits {
  int max_steps = 1000;
  int max_images = 64;
  int64_t max_pixels = 64 << 20;          // height * width * count
  int64_t max_image_pixels = 4 << 20;     // height * width, where a request chooses them
  int64_t max_picture_pixels = 16 << 20;  // of each picture that the request brings along
  int max_rows = 16;                      // of one image's network calls
  int max_frame_bytes =
      4'000'000;  // encoded; with its event it fits gRPC's usual 4 MiB receive cap
};

struct ResolvedRequest {
  ModelHandle model;
  SampleShape picture;           // the shape of its images
  GenerationRequest generation;  // without a deadline and networks
  denoised::v1::Encoding image_encoding;
  denoised::v1::Encoding frame_encoding;
  int frame_bytes_max;
  denoised::v1::Accepted accepted;
  int64_t first_sequence = 0;  // the number of its first event; more than 0 for a handover
};

// Everything that is wrong with a request besides its pictures and the files of its adapters: it is
// asked before anything is loaded for the request. `model` is the request's, or why there is none
// (FindModel, field_checks.h).
//
// InvalidArgument carries every violation, by its path in the request ("sampler.steps"); other
// errors are those of `model`. Pure, thread-safe; the work is bounded by `limits`.
absl::Status CheckRequest(const denoised::v1::GenerateRequest& request,
                          absl::StatusOr<ModelHandle> model, const RequestLimits& limits);

// As CheckRequest, and with the pictures that the request brings along, which are slow to decode
// (start_validation.h). `adapters` are the request's (LoadAdapters, adapter_validation.h). The
// networks to run with are for the caller to add. `seed` is what a request gets that names none.
absl::StatusOr<ResolvedRequest> ResolveRequest(const denoised::v1::GenerateRequest& request,
                                               absl::StatusOr<ModelHandle> model,
                                               const RequestLimits& limits, uint64_t seed,
                                               const RequestedAdapters& adapters = {});

// The most steps with which each image of the request takes at most `evaluations_max` evaluations,
// fewer than it asks for; nullopt where even one step takes more. `request` has been resolved with
// `model` and `adapters` before.
std::optional<int> StepsWithin(const denoised::v1::GenerateRequest& request, const Model& model,
                               const RequestLimits& limits, const RequestedAdapters& adapters,
                               int evaluations_max);

struct ResolvedPlan {
  ModelHandle model;
  SamplerOptions options;
  std::shared_ptr<const SamplerPlan> plan;
};

// What ResolveRequest makes of this model and sampler, or refuses, alone.
absl::StatusOr<ResolvedPlan> ResolvePlanRequest(const denoised::v1::PlanSamplerRequest& request,
                                                const ModelRepository& models,
                                                const RequestLimits& limits);

}  // namespace denoise
