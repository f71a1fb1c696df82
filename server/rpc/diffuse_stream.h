// What the stream of a Diffuse call reads: the forward process of some pictures, made piece by
// piece as it is read.
#pragma once

#include <memory>

#include "denoised/v1/image_generation.pb.h"
#include "server/rpc/call.h"
#include "server/rpc/event_stream.h"
#include "server/rpc/generation_stream.h"

namespace denoise {

using DiffuseEventSource = EventSource<denoised::v1::DiffuseEvent>;

// `request` is gRPC's, and lives until the call is over.
std::unique_ptr<DiffuseEventSource> MakeDiffuseSource(const GenerationEnvironment& environment,
                                                      const denoised::v1::DiffuseRequest& request,
                                                      Call call);

}  // namespace denoise
