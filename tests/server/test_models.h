// Models whose networks are the exact denoisers of Gaussian pixels.
#pragma once

#include <vector>

#include "server/models/model.h"

namespace denoise {

// "faces": 3 x 8 x 8, unconditional, epsilon, DDPM by default, no learned variance.
LoadedModelHandle UnconditionalModel();

// "emoji": the same with classes 0 to 3, named "a", "b" and (2) nameless; 3 stands for no class.
LoadedModelHandle ClassConditionalModel();

// Both of them, and "labels": class-conditional, without a class that stands for none.
std::vector<LoadedModelHandle> TestModels();

}  // namespace denoise
