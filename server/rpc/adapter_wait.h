// A call that waits for its adapters to be read.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "core/nn/adapter.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/models/adapter_library.h"
#include "server/models/model.h"
#include "server/rpc/work_pool.h"

namespace denoise {

// Once destroyed, nobody is woken any more. Used by one thread at a time.
class AdapterWait {
 public:
  // Reads the adapters of `request` to `model` on `pool`, then calls `wake`, on a thread of the
  // pool. `pool` and `library` outlive what is read, `request` only this call.
  AdapterWait(WorkPool* pool, AdapterLibrary* library, ModelHandle model,
              const denoised::v1::GenerateRequest& request, std::function<void()> wake);
  ~AdapterWait();
  AdapterWait(const AdapterWait&) = delete;
  AdapterWait& operator=(const AdapterWait&) = delete;

  const ModelHandle& model() const { return model_; }

  // As LoadAdapters (server/requests/adapter_validation.h); nullopt until that is known.
  std::optional<absl::StatusOr<AppliedAdapters>> result() const;

 private:
  struct Shared;
  const ModelHandle model_;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace denoise
