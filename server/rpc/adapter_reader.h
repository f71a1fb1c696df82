// Reads the adapters of requests while their calls wait without a thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/models/adapter_library.h"
#include "server/models/model.h"
#include "server/requests/adapter_validation.h"
#include "server/rpc/work_pool.h"

namespace denoise {

// A call that waits for its adapters. After its destruction, nobody is woken. Used by one thread at
// a time.
class AdapterWait {
 public:
  ~AdapterWait();
  AdapterWait(const AdapterWait&) = delete;
  AdapterWait& operator=(const AdapterWait&) = delete;

  // Whether what is read suits `model`, too: another version of a model may have other layers.
  bool Suits(const Model& model) const;

  // As LoadAdapters, or as CheckAdapterFiles; nullopt until that is known.
  std::optional<absl::StatusOr<RequestedAdapters>> result() const;

 private:
  friend class AdapterReader;
  struct Shared;
  AdapterWait(ModelHandle model, std::shared_ptr<Shared> shared);

  const ModelHandle model_;
  const std::shared_ptr<Shared> shared_;
};

// Thread-safe.
class AdapterReader {
 public:
  // `library` outlives it.
  explicit AdapterReader(AdapterLibrary* library);

  enum class What { kHeaders, kWeights };

  // Reads the adapters of `request` to `model`, or just checks their headers, then calls `wake`, on
  // a thread of its own. `request` need not outlive this call. Unavailable where too many wait.
  absl::StatusOr<std::unique_ptr<AdapterWait>> Read(What what, const ModelHandle& model,
                                                    const denoised::v1::GenerateRequest& request,
                                                    std::function<void()> wake);

 private:
  AdapterLibrary* const library_;
  std::atomic<int> waits_ = 0;
  WorkPool pool_;  // last: its tasks use everything above
};

}  // namespace denoise
