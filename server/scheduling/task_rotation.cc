#include "server/scheduling/task_rotation.h"

#include <algorithm>
#include <utility>

#include "core/base/check.h"

namespace denoise {

void TaskRotation::Add(uint64_t id, std::shared_ptr<DeviceTask> task, int priority) {
  tasks_.push_back({.id = id, .task = std::move(task), .priority = priority});
}

bool TaskRotation::Contains(uint64_t id) const {
  return std::any_of(tasks_.begin(), tasks_.end(),
                     [id](const Entry& entry) { return entry.id == id; });
}

DeviceTask* TaskRotation::Begin() {
  DENOISE_DCHECK(HasRunnable());
  const auto next = Find(Next()->id);
  next->running = next->idle = true;
  tasks_.splice(tasks_.end(), tasks_, next);
  return next->task.get();
}

// A retired task stays until RemoveTask takes it.
std::shared_ptr<DeviceTask> TaskRotation::End(DeviceTask::Outcome outcome) {
  const auto ended =
      std::find_if(tasks_.begin(), tasks_.end(), [](const Entry& entry) { return entry.running; });
  ended->running = false;
  ended->urgent = outcome == DeviceTask::Outcome::kMoreNow;
  if (outcome == DeviceTask::Outcome::kMore || ended->urgent) ended->idle = false;
  if (outcome != DeviceTask::Outcome::kDone || ended->retired) return nullptr;
  return Remove(ended->id);
}

void TaskRotation::Wake(uint64_t id) {
  if (const auto task = Find(id); task != tasks_.end()) task->idle = false;
}

void TaskRotation::WakeAll() {
  for (Entry& task : tasks_) task.idle = false;
}

void TaskRotation::Retire(uint64_t id) {
  if (const auto task = Find(id); task != tasks_.end()) task->retired = true;
}

bool TaskRotation::IsRunning(uint64_t id) const {
  return std::any_of(tasks_.begin(), tasks_.end(),
                     [id](const Entry& entry) { return entry.id == id && entry.running; });
}

std::shared_ptr<DeviceTask> TaskRotation::Remove(uint64_t id) {
  const auto entry = Find(id);
  if (entry == tasks_.end()) return nullptr;
  std::shared_ptr<DeviceTask> task = std::move(entry->task);
  tasks_.erase(entry);
  return task;
}

TaskRotation::Entries::const_iterator TaskRotation::Next() const {
  auto next = tasks_.end();
  for (auto entry = tasks_.begin(); entry != tasks_.end(); ++entry) {
    if (entry->idle || entry->retired) continue;
    if (entry->urgent) return entry;
    if (next == tasks_.end() || entry->priority > next->priority) next = entry;
  }
  return next;
}

TaskRotation::Entries::iterator TaskRotation::Find(uint64_t id) {
  return std::find_if(tasks_.begin(), tasks_.end(),
                      [id](const Entry& entry) { return entry.id == id; });
}

}  // namespace denoise
