// From the events of a generation to what the API answers. Encodes images in base64, which is slow.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "denoised/v1/image_generation.pb.h"
#include "server/http/openai/images_request.h"

namespace denoise::openai {

// The answer to a request without `stream`. `images` are in order; `created` is in seconds since
// the Unix epoch.
std::string ImagesJson(const denoised::v1::Accepted& accepted,
                       std::span<const denoised::v1::GeneratedImage> images, int64_t created);

// Server-sent events. `event` holds a frame, the `index`th of its image.
std::string PartialImageEvent(Endpoint endpoint, const denoised::v1::GenerateEvent& event,
                              int index);
// `event` holds an image. `usage_of` is the request, for its last image; else null.
std::string CompletedEvent(Endpoint endpoint, const denoised::v1::GenerateEvent& event,
                           const denoised::v1::Accepted* usage_of);

}  // namespace denoise::openai
