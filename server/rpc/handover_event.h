// What readers of a generation get when it is handed over: its token.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/generations/generations.h"
#include "server/rpc/generation_stream.h"

namespace denoise {

// The handover with the number `sequence`, which happened at `time`, sealed for the generation's
// tenant. The same handover may be sealed for any number of readers, at any time. Slow: it copies
// and encrypts the state of the images.
denoised::v1::Handover SealEvent(const GenerationLog::Handover& handover, int64_t sequence,
                                 absl::Time time, const Generations::Reader& reader,
                                 const GenerationEnvironment& environment);

}  // namespace denoise
