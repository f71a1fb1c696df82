// What the access log says of a call that reads a generation: how its request was resolved, and what
// it took. Prompts are never in it, nor anything else of a request that its caller wrote freely but
// the names of models and adapters.
#pragma once

#include "denoised/v1/image_generation.pb.h"
#include "server/generations/generations.h"
#include "server/rpc/call_record.h"

namespace denoise {

// The settings, defaults filled in.
void AddSettings(const denoised::v1::Accepted& accepted, CallRecord& record);

// Where the generation stands as the call ends.
void AddProgress(const GenerationLog::Snapshot& snapshot, CallRecord& record);

}  // namespace denoise
