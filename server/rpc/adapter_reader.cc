#include "server/rpc/adapter_reader.h"

#include <exception>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "core/base/mutex.h"
#include "core/base/retry.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

// A thread waits while another reads the same file.
constexpr int kThreads = 4;
constexpr int kMaxWaits = 256;
constexpr absl::Duration kRetryDelay = absl::Seconds(1);

}  // namespace

struct AdapterWait::Shared {
  bool is_abandoned() ABSL_LOCKS_EXCLUDED(mutex) {
    const MutexLock lock(mutex);
    return wake == nullptr;
  }

  void Finish(absl::StatusOr<RequestedAdapters> loaded) ABSL_LOCKS_EXCLUDED(mutex) {
    const MutexLock lock(mutex);
    if (wake == nullptr) return;
    result = std::move(loaded);
    wake();
  }

  Mutex mutex;
  std::function<void()> wake ABSL_GUARDED_BY(mutex);  // null: nobody waits
  std::optional<absl::StatusOr<RequestedAdapters>> result ABSL_GUARDED_BY(mutex);
};

AdapterWait::AdapterWait(ModelHandle model, std::shared_ptr<Shared> shared)
    : model_(std::move(model)), shared_(std::move(shared)) {}

AdapterWait::~AdapterWait() {
  const MutexLock lock(shared_->mutex);
  shared_->wake = nullptr;
}

bool AdapterWait::Suits(const Model& model) const {
  return model.id == model_->id && model.adapters != nullptr &&
         model.adapters->signature == model_->adapters->signature;
}

std::optional<absl::StatusOr<RequestedAdapters>> AdapterWait::result() const {
  const MutexLock lock(shared_->mutex);
  return shared_->result;
}

AdapterReader::AdapterReader(AdapterLibrary* library) : library_(library), pool_(kThreads) {}

absl::StatusOr<std::unique_ptr<AdapterWait>> AdapterReader::Read(
    What what, const ModelHandle& model, const denoised::v1::GenerateRequest& request,
    std::function<void()> wake) {
  if (waits_.fetch_add(1) >= kMaxWaits) {
    waits_.fetch_sub(1);
    return UnavailableRetryAfter("too many calls wait for adapters", kRetryDelay);
  }
  auto shared = std::make_shared<AdapterWait::Shared>();
  {
    const MutexLock lock(shared->mutex);
    shared->wake = std::move(wake);
  }
  denoised::v1::GenerateRequest adapters;
  adapters.set_model(request.model());
  *adapters.mutable_adapters() = request.adapters();
  const auto read = [this, shared, what, model,
                     adapters = std::move(adapters)]() -> absl::StatusOr<RequestedAdapters> {
    if (what == What::kWeights) {
      return LoadAdapters(adapters, *model, *library_, [&] { return shared->is_abandoned(); });
    }
    RETURN_IF_ERROR(CheckAdapterFiles(adapters, *model, library_->catalog()));
    return RequestedAdapters();
  };
  pool_.Schedule([this, shared, read] {
    const absl::Cleanup done = [this] { waits_.fetch_sub(1); };
    if (shared->is_abandoned()) return;
    try {
      shared->Finish(read());
    } catch (const std::exception& error) {
      shared->Finish(absl::InternalError(error.what()));
    }
  });
  return std::unique_ptr<AdapterWait>(new AdapterWait(model, std::move(shared)));
}

}  // namespace denoise
