// Priorities of the contract, as the scheduler has them.
#pragma once

#include "denoised/v1/image_generation.pb.h"
#include "server/scheduling/fair_share.h"

namespace denoise {

inline Priority FromProto(denoised::v1::Priority priority) {
  if (priority == denoised::v1::PRIORITY_BATCH) return Priority::kBatch;
  if (priority == denoised::v1::PRIORITY_INTERACTIVE) return Priority::kInteractive;
  return Priority::kNormal;
}

inline denoised::v1::Priority ToProto(Priority priority) {
  if (priority == Priority::kBatch) return denoised::v1::PRIORITY_BATCH;
  if (priority == Priority::kInteractive) return denoised::v1::PRIORITY_INTERACTIVE;
  return denoised::v1::PRIORITY_NORMAL;
}

}  // namespace denoise
