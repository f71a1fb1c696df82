#include "server/rpc/work_pool.h"

#include <exception>
#include <utility>

#include "server/telemetry/log.h"

namespace denoise {
namespace {

void Run(const std::function<void()>& task) {
  try {
    task();
  } catch (const std::exception& error) {
    LogEvent(spdlog::level::err, "task failed", {{"reason", error.what()}});
  } catch (...) {
    LogEvent(spdlog::level::err, "task failed", {{"reason", "unknown"}});
  }
}

}  // namespace

WorkPool::WorkPool(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Loop(); });
}

WorkPool::~WorkPool() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

void WorkPool::Schedule(std::function<void()> task) {
  {
    MutexLock lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.NotifyOne();
}

void WorkPool::Loop() {
  while (true) {
    std::function<void()> task;
    {
      MutexLock lock(mutex_);
      while (tasks_.empty() && !stopping_) changed_.Wait(mutex_);
      if (tasks_.empty()) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    Run(task);
  }
}

}  // namespace denoise
