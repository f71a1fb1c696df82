// The tasks of one device, and whose slice is next.
#pragma once

#include <cstdint>
#include <list>
#include <memory>

#include "server/scheduling/device_task.h"

namespace denoise {

// Tasks of the highest priority run; those of the same priority take turns, a slice each. One slice
// runs at a time. Not thread-safe: guarded by its scheduler's lock.
class TaskRotation {
 public:
  void Add(uint64_t id, std::shared_ptr<DeviceTask> task, int priority);

  size_t size() const { return tasks_.size(); }
  bool Contains(uint64_t id) const;
  bool HasRunnable() const { return Next() != tasks_.end(); }

  // Begins a slice of the runnable task that is next; there is one.
  DeviceTask* Begin();
  // The slice that runs is over. Returns the task where that is done, to be let go of.
  std::shared_ptr<DeviceTask> End(DeviceTask::Outcome outcome);

  // There is something to do again; during a slice, too. Unknown ids are ignored.
  void Wake(uint64_t id);

  // No slice of the task begins from now on.
  void Retire(uint64_t id);
  bool IsRunning(uint64_t id) const;
  // Takes out a task whose slice does not run; null where the id is unknown.
  std::shared_ptr<DeviceTask> Remove(uint64_t id);

 private:
  struct Entry {
    uint64_t id;
    std::shared_ptr<DeviceTask> task;
    int priority;
    bool idle = false;  // nothing to do until woken; presumed while a slice runs, so that a Wake
                        // during it is not lost
    bool running = false;
    bool retired = false;
  };
  using Entries = std::list<Entry>;

  Entries::const_iterator Next() const;
  Entries::iterator Find(uint64_t id);

  Entries tasks_;  // the front has waited longest
};

}  // namespace denoise
