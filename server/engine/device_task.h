// Work that shares a device with generation, in slices: training, evaluation.
#pragma once

#include <ATen/core/Tensor.h>

namespace denoise {

// Called by one worker's thread, a slice at a time, outside c10::InferenceMode. A slice is as short as
// the work allows: while it runs no generation moves on that device.
class DeviceTask {
 public:
  virtual ~DeviceTask() = default;

  enum class Outcome {
    kMore,  // call again
    kIdle,  // nothing to do until Engine::Wake
    kDone,  // never call again
  };
  // Does not throw. Nothing slow but device work: files are written on threads of its own.
  virtual Outcome RunSlice() = 0;
};

}  // namespace denoise
