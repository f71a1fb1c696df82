// Work that shares a device with generation, in slices: training, evaluation of models, measurement.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace denoise {

// Called by one worker's thread, a slice at a time, outside c10::InferenceMode and with the
// worker's number of intra-op threads. Slices should be as short as the work allows: no generation
// moves on that device during one. Kernels may still be running when a slice returns: the worker
// waits for those on the device's current stream, and counts their time.
class DeviceTask {
 public:
  virtual ~DeviceTask() = default;

  // What its slices do.
  enum class Kind { kTraining, kMeasurement };
  virtual Kind kind() const { return Kind::kTraining; }

  // What callers know it as: "trainingJobs/17". Empty where they do not.
  virtual std::string name() const { return {}; }

  enum class Outcome {
    kMore,     // call again
    kMoreNow,  // the same, before anything else: others wait for this task, on other machines
    kIdle,     // nothing to do until Engine::Wake; a Wake during the slice counts
    kDone,     // never call again; the engine releases the task
  };
  // Does not call Engine::RemoveTask. Does only device work: other threads write its files.
  virtual Outcome RunSlice() = 0;

  // Called when a slice threw or the kernels that it left on the device failed, even after kDone.
  // The engine then releases the task and does not call it again. ResourceExhausted if memory ran
  // out, DeviceFailedError() if the device does not work any more, even before the first slice,
  // otherwise Internal. Does not throw.
  virtual void OnFailed(const absl::Status& status) = 0;
};

}  // namespace denoise
