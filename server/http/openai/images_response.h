// From the events of a generation to what the API answers. Encodes images in base64, which is slow.
#pragma once

#include <cstdint>
#include <string>

#include "denoised/v1/image_generation.pb.h"
#include "server/http/openai/images_request.h"

namespace denoise::openai {

// The answer to a request without `stream` in pieces, so that it need not be in memory as a whole:
// its beginning, each image, which follow each other with kBetweenImages, and kEndOfImages. `image`
// is one of them; `created` is in seconds since the Unix epoch.
std::string BeginImages(const denoised::v1::Accepted& accepted, const denoised::v1::Image& image,
                        int64_t created);
std::string ImageObject(const denoised::v1::GeneratedImage& image);
inline constexpr char kBetweenImages[] = ",";
inline constexpr char kEndOfImages[] = "]}";

// Server-sent events. `event` holds a frame, the `index`th of its image.
std::string PartialImageEvent(Endpoint endpoint, const denoised::v1::GenerateEvent& event,
                              int index);
// `event` holds an image. `usage_of` is the request, for its last image; else null.
std::string CompletedEvent(Endpoint endpoint, const denoised::v1::GenerateEvent& event,
                           const denoised::v1::Accepted* usage_of);

}  // namespace denoise::openai
