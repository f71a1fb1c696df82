// Work that shares a device with generation, in slices: training, evaluation.
#pragma once

#include "absl/status/status.h"

namespace denoise {

// Called by one worker's thread, a slice at a time, outside c10::InferenceMode and with the worker's
// number of intra-op threads. A slice is as short as the work allows: while it runs no generation
// moves on that device. Kernels may still be running when it returns: the worker waits for those on
// the device's current stream, and counts their time.
class DeviceTask {
 public:
  virtual ~DeviceTask() = default;

  enum class Outcome {
    kMore,  // call again
    kIdle,  // nothing to do until Engine::Wake; one that came during the slice counts
    kDone,  // never call again; the engine lets go of the task
  };
  // Does not call Engine::RemoveTask. Nothing slow but device work: files are written on threads of
  // its own.
  virtual Outcome RunSlice() = 0;

  // A slice threw, or the kernels that it left on the device failed, after kDone even: the task is not
  // called again, and the engine lets go of it. ResourceExhausted: memory ran out; else Internal.
  // Does not throw.
  virtual void OnFailed(const absl::Status& status) = 0;
};

}  // namespace denoise
