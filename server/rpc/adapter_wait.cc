#include "server/rpc/adapter_wait.h"

#include <utility>

#include "absl/base/thread_annotations.h"
#include "core/base/mutex.h"
#include "server/requests/adapter_validation.h"

namespace denoise {

struct AdapterWait::Shared {
  Mutex mutex;
  std::function<void()> wake ABSL_GUARDED_BY(mutex);  // null: nobody waits any more
  std::optional<absl::StatusOr<AppliedAdapters>> result ABSL_GUARDED_BY(mutex);

  bool abandoned() ABSL_LOCKS_EXCLUDED(mutex) {
    const MutexLock lock(mutex);
    return wake == nullptr;
  }
};

AdapterWait::AdapterWait(WorkPool* pool, AdapterLibrary* library, ModelHandle model,
                         const denoised::v1::GenerateRequest& request, std::function<void()> wake)
    : model_(std::move(model)), shared_(std::make_shared<Shared>()) {
  {
    const MutexLock lock(shared_->mutex);
    shared_->wake = std::move(wake);
  }
  denoised::v1::GenerateRequest adapters;
  *adapters.mutable_adapters() = request.adapters();
  pool->Schedule([shared = shared_, library, model = model_, adapters = std::move(adapters)] {
    if (shared->abandoned()) return;
    absl::StatusOr<AppliedAdapters> loaded = LoadAdapters(adapters, *model, *library);
    const MutexLock lock(shared->mutex);
    if (shared->wake == nullptr) return;
    shared->result = std::move(loaded);
    shared->wake();
  });
}

AdapterWait::~AdapterWait() {
  const MutexLock lock(shared_->mutex);
  shared_->wake = nullptr;
}

std::optional<absl::StatusOr<AppliedAdapters>> AdapterWait::result() const {
  const MutexLock lock(shared_->mutex);
  return shared_->result;
}

}  // namespace denoise
