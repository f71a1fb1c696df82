// The events of a Generate stream, built from what the engine tells. Sequence and time are the
// stream's to set.
#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/rpc/outbox.h"

namespace denoise {

denoised::v1::GenerateEvent StartedEvent(absl::Duration queue_wait);
denoised::v1::GenerateEvent ProgressEvent(int steps_done, int steps_total, int images_done);
denoised::v1::GenerateEvent FinishedEvent(int images, int frames_sent, int frames_dropped,
                                          absl::Duration elapsed);

// Encodes frames and images, which is slow; the others just become events. `item` is no
// ProgressMark. InvalidArgument where an encoding cannot hold a picture.
absl::StatusOr<denoised::v1::GenerateEvent> ToEvent(OutboxItem item,
                                                    denoised::v1::Encoding image_encoding,
                                                    denoised::v1::Encoding frame_encoding);

void SetTime(absl::Time time, denoised::v1::GenerateEvent& event);

}  // namespace denoise
