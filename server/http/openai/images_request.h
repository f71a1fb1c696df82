// From a request of the images API to the RPC that does it. docs/openai.md describes every field.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "denoised/v1/image_generation.pb.h"
#include "denoised/v1/models.pb.h"
#include "server/http/openai/request_body.h"

namespace denoise::openai {

enum class Endpoint { kGenerations, kEdits };

struct ImagesRequest {
  denoised::v1::GenerateRequest generate;
  bool stream = false;
  int partial_images = 0;  // at most, of each image
};

// "models/NAME" of the field "model", which may leave out the first part; empty where the request
// names none. InvalidArgument where it is no text.
absl::StatusOr<std::string> RequestedModel(const RequestBody& body);

// `model` is what the request names, or the only one that there is. InvalidArgument lists every
// field that is wrong; the RPC checks the rest. Pictures of more than `picture_pixels_max` are left
// to the RPC to refuse. Slow where there is a picture.
absl::StatusOr<ImagesRequest> TranslateRequest(Endpoint endpoint, const RequestBody& body,
                                               const denoised::v1::Model& model,
                                               int64_t picture_pixels_max);

}  // namespace denoise::openai
