// The tasks of one device, and which of them runs the next slice.
#pragma once

#include <cstdint>
#include <list>
#include <memory>

#include "server/scheduling/device_task.h"

namespace denoise {

// Tasks of the highest priority run; those of equal priority alternate, one slice each. One whose
// slice has ended with kMoreNow comes before all. One slice runs at a time. Not thread-safe:
// guarded by its scheduler's lock.
class TaskRotation {
 public:
  void Add(uint64_t id, std::shared_ptr<DeviceTask> task, int priority);

  size_t size() const { return tasks_.size(); }
  bool Contains(uint64_t id) const;
  bool HasRunnable() const { return Next() != tasks_.end(); }
  // Whether the next slice is that of a task whose last one has ended with kMoreNow.
  bool HasUrgent() const { return HasRunnable() && Next()->urgent; }

  // Begins a slice of the next runnable task. Requires HasRunnable().
  DeviceTask* Begin();
  // Ends the slice that runs. Returns the task if it is done, for the caller to release.
  std::shared_ptr<DeviceTask> End(DeviceTask::Outcome outcome);

  // Makes an idle task runnable, even during its slice. Unknown ids are ignored.
  void Wake(uint64_t id);
  void WakeAll();

  // Begins no further slice of the task.
  void Retire(uint64_t id);
  bool IsRunning(uint64_t id) const;
  // Removes a task that is not running a slice. Null if the id is unknown.
  std::shared_ptr<DeviceTask> Remove(uint64_t id);

 private:
  struct Entry {
    uint64_t id;
    std::shared_ptr<DeviceTask> task;
    int priority;
    bool idle = false;    // nothing to do until woken; set while a slice runs, so that a Wake
                          // during it is not lost
    bool urgent = false;  // its next slice comes before all others
    bool running = false;
    bool retired = false;
  };
  using Entries = std::list<Entry>;

  Entries::const_iterator Next() const;
  Entries::iterator Find(uint64_t id);

  Entries tasks_;  // the front has waited longest
};

}  // namespace denoise
