#include "server/jobs/runs/run_recorder.h"

#include <exception>
#include <utility>

#include "core/base/status_macros.h"
#include "server/jobs/runs/run_events.h"
#include "server/jobs/store/files.h"

namespace denoise {

using denoised::v1::TrainingEvent;

RunRecorder::RunRecorder(Destination destination, std::function<void()> written)
    : destination_(std::move(destination)),
      written_(std::move(written)),
      thread_([this] { Loop(); }) {}

RunRecorder::~RunRecorder() {
  Flush();
  {
    const MutexLock lock(mutex_);
    stopped_ = true;
  }
  changed_.NotifyAll();
  thread_.join();
}

void RunRecorder::Write(TrainingEvent event) {
  Add({.write = [this, event = std::move(event)] {
    return destination_.store->AddEvent(destination_.job, event);
  }});
}

void RunRecorder::WriteLater(MakeEvent make_event) {
  Add({.write = [this, make_event = std::move(make_event)]() -> absl::Status {
    ASSIGN_OR_RETURN(TrainingEvent event, make_event());
    return destination_.store->AddEvent(destination_.job, std::move(event));
  }});
}

void RunRecorder::WriteCheckpoint(TrainingSnapshot snapshot) {
  Add({.write = [this, snapshot = std::move(snapshot)] { return SaveCheckpoint(snapshot); },
       .is_checkpoint = true});
}

void RunRecorder::WriteEndOfWait() {
  Add({.write = [this] {
    return destination_.store->Apply(destination_.job, JobAction::kWait).status();
  }});
}

absl::Status RunRecorder::SaveCheckpoint(const TrainingSnapshot& snapshot) {
  RETURN_IF_ERROR(
      DiskStatus(destination_.checkpoints->Write(snapshot, destination_.keep_checkpoints)));
  ASSIGN_OR_RETURN(const std::vector<CheckpointFolder::Entry> entries,
                   destination_.checkpoints->List());
  for (const CheckpointFolder::Entry& entry : entries) {
    if (entry.step != snapshot.step) continue;
    return destination_.store->AddEvent(
        destination_.job, CheckpointEvent(destination_.job, entry, destination_.ema_decays));
  }
  return absl::InternalError("a checkpoint is missing after it was written");
}

size_t RunRecorder::waiting() const {
  const MutexLock lock(mutex_);
  return items_.size();
}

bool RunRecorder::checkpoint_waiting() const {
  const MutexLock lock(mutex_);
  for (const Item& item : items_) {
    if (item.is_checkpoint) return true;
  }
  return false;
}

absl::Status RunRecorder::status() const {
  const MutexLock lock(mutex_);
  return status_;
}

void RunRecorder::Flush() {
  const MutexLock lock(mutex_);
  while (!items_.empty()) changed_.Wait(mutex_);
}

void RunRecorder::Add(Item item) {
  {
    const MutexLock lock(mutex_);
    if (!status_.ok()) return;
    items_.push_back(std::move(item));
  }
  changed_.NotifyAll();
}

void RunRecorder::Loop() {
  while (true) {
    std::function<absl::Status()> write;
    {
      const MutexLock lock(mutex_);
      while (items_.empty() && !stopped_) changed_.Wait(mutex_);
      if (items_.empty()) return;
      write = std::move(items_.front().write);
    }
    absl::Status status;
    try {
      status = write();
    } catch (const std::exception& error) {  // a library's, or memory ran out
      status = absl::InternalError(error.what());
    }
    write = nullptr;  // frees a snapshot before the next one is made
    {
      const MutexLock lock(mutex_);
      items_.pop_front();
      if (!status.ok()) {
        status_ = status;
        items_.clear();
      }
    }
    changed_.NotifyAll();
    written_();
  }
}

}  // namespace denoise
