#include "core/files/file_watch.h"

#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

// Differs from an earlier one if a file was replaced or written to since.
std::string FingerprintOf(const std::vector<std::filesystem::path>& files) {
  std::string fingerprint;
  for (const std::filesystem::path& file : files) {
    struct stat info = {};
    if (stat(file.c_str(), &info) != 0) info = {};
    absl::StrAppend(&fingerprint, info.st_dev, " ", info.st_ino, " ", info.st_size, " ",
                    info.st_mtim.tv_sec, " ", info.st_mtim.tv_nsec, "\n");
  }
  return fingerprint;
}

}  // namespace

FileWatch::FileWatch(absl::Duration interval, const Clock* clock)
    : interval_(interval), clock_(clock), thread_([this] { Loop(); }) {}

FileWatch::~FileWatch() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  stopped_.NotifyAll();
  thread_.join();
}

void FileWatch::Add(std::vector<std::filesystem::path> files, std::function<void()> on_change) {
  std::string seen = FingerprintOf(files);
  const MutexLock lock(mutex_);
  groups_.push_back({std::move(files), std::move(on_change), std::move(seen)});
}

void FileWatch::Loop() {
  while (WaitForNextRound()) {
    for (const auto& on_change : Changed()) on_change();
  }
}

bool FileWatch::WaitForNextRound() {
  const MutexLock lock(mutex_);
  const absl::Time next_round = clock_->Now() + interval_;
  while (!stopping_ && clock_->Now() < next_round) {
    clock_->WaitUntil(stopped_, mutex_, next_round);
  }
  return !stopping_;
}

std::vector<std::function<void()>> FileWatch::Changed() {
  std::vector<std::function<void()>> changed;
  const MutexLock lock(mutex_);
  for (Group& group : groups_) {
    std::string now = FingerprintOf(group.files);
    if (std::exchange(group.seen, now) != now) changed.push_back(group.on_change);
  }
  return changed;
}

}  // namespace denoise
