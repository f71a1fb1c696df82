// Models as the API lists them.
#pragma once

#include <string>
#include <string_view>

#include "denoised/v1/models.pb.h"

namespace denoise::openai {

// "emoji-32" of "models/emoji-32".
std::string ModelId(const denoised::v1::Model& model);
// "models/emoji-32" of either.
std::string ModelNameOf(std::string_view id);

// {"id", "object": "model", "created", "owned_by", and what a request for it needs to know}
std::string ModelJson(const denoised::v1::Model& model);
// {"object": "list", "data": [...]}
std::string ModelListJson(const denoised::v1::ListModelsResponse& models);

}  // namespace denoise::openai
