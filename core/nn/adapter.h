// Low-rank adapters (Hu et al. 2022): small changes of a model's layers that a request chooses, and
// that leave the model's own weights as they are.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "core/base/mutex.h"

namespace denoise {

// The change of one layer, factor * up * down.
struct LowRankPair {
  at::Tensor down;    // [rank, in], or [rank, in, k, k] of a convolution with the layer's stride
  at::Tensor up;      // [out, rank]
  double factor = 1;  // alpha / rank
};

// By the names that layers have in checkpoints: "mid_block.resnets.0.conv1".
using AdapterLayers = std::map<std::string, LowRankPair, std::less<>>;

// Immutable and thread-safe. Has one device and one dtype, and keeps its copies on others for as
// long as it lives itself.
class Adapter : public std::enable_shared_from_this<Adapter> {
 public:
  // `texts` are the layers of each text encoder of the model, in its order; tensors are float32 on
  // the CPU. `kept`, which may be null, lives until the last copy is gone.
  static std::shared_ptr<const Adapter> Create(AdapterLayers network,
                                               std::vector<AdapterLayers> texts,
                                               std::shared_ptr<const void> kept = nullptr);

  const AdapterLayers& network() const { return network_; }
  // The layers of the model's text encoder `index`; none if the adapter has nothing for it.
  const AdapterLayers& text(size_t index) const;

  // The same adapter on `device` in `dtype`; itself if nothing changes. Throws c10::Error if there
  // is no such device or it is out of memory.
  std::shared_ptr<const Adapter> On(at::Device device, at::ScalarType dtype) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  at::Device device() const { return device_; }
  at::ScalarType dtype() const { return dtype_; }
  // The same for all copies, and no other adapter of the process has it.
  uint64_t id() const { return id_; }
  // Of its tensors, without those of its copies.
  int64_t bytes() const;

 private:
  Adapter(AdapterLayers network, std::vector<AdapterLayers> texts, at::Device device,
          at::ScalarType dtype, uint64_t id, std::shared_ptr<const void> kept);

  const AdapterLayers network_;
  const std::vector<AdapterLayers> texts_;
  const at::Device device_;
  const at::ScalarType dtype_;
  const uint64_t id_;
  const std::shared_ptr<const void> kept_;
  mutable Mutex mutex_;
  mutable std::vector<std::shared_ptr<const Adapter>> copies_ ABSL_GUARDED_BY(mutex_);
};

struct AppliedAdapter {
  std::shared_ptr<const Adapter> adapter;
  double scale = 1;  // 0 changes nothing
};
// All that apply to one row, in the order in which their changes are added.
using AppliedAdapters = std::vector<AppliedAdapter>;

// Whether both say the same of the same adapters, on whatever devices.
bool SameAdapters(const AppliedAdapters& a, const AppliedAdapters& b);

// Whether any of them changes the network, and not only text encoders.
bool ChangeNetwork(const AppliedAdapters& adapters);

}  // namespace denoise
