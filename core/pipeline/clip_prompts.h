// Encodes prompts with CLIP's text encoders, and remembers what it encoded lately.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/nn/placement.h"
#include "core/pipeline/pipeline.h"
#include "core/text/encoders/clip_text_encoder.h"

namespace denoise {

// Which states of its text encoders a family of models is told, for clip_skip k.
using StatesOfClipSkip = TextStateOptions (*)(int64_t clip_skip);

// The encoders' states side by side, and the pooled text of the last encoder if `states` asks for
// it. Conditions come out on the device of the network, which is at `network`; the encoders may be
// on the CPU instead, and then stay there: To() moves only what they return. Keeps at most
// `cache_bytes` of states.
std::shared_ptr<const PromptEncoder> ClipPrompts(
    std::vector<std::shared_ptr<const ClipTextEncoder>> encoders, StatesOfClipSkip states,
    const Placement& network, int64_t cache_bytes = int64_t{64} << 20);

}  // namespace denoise
