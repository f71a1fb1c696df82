#include "core/nn/adapter.h"

#include <algorithm>
#include <atomic>
#include <utility>

namespace denoise {
namespace {

uint64_t NextId() {
  static std::atomic<uint64_t> next{0};
  return next.fetch_add(1, std::memory_order_relaxed);
}

AdapterLayers LayersOn(const AdapterLayers& layers, at::Device device, at::ScalarType dtype) {
  AdapterLayers moved;
  for (const auto& [name, pair] : layers) {
    moved[name] = {pair.down.to(device, dtype), pair.up.to(device, dtype), pair.factor};
  }
  return moved;
}

int64_t BytesOf(const AdapterLayers& layers) {
  int64_t bytes = 0;
  for (const auto& [name, pair] : layers) {
    bytes += static_cast<int64_t>(pair.down.nbytes() + pair.up.nbytes());
  }
  return bytes;
}

}  // namespace

Adapter::Adapter(AdapterLayers network, std::vector<AdapterLayers> texts, at::Device device,
                 at::ScalarType dtype, uint64_t id, std::shared_ptr<const void> kept)
    : network_(std::move(network)),
      texts_(std::move(texts)),
      device_(device),
      dtype_(dtype),
      id_(id),
      kept_(std::move(kept)) {}

std::shared_ptr<const Adapter> Adapter::Create(AdapterLayers network,
                                               std::vector<AdapterLayers> texts,
                                               std::shared_ptr<const void> kept) {
  return std::shared_ptr<const Adapter>(new Adapter(std::move(network), std::move(texts), at::kCPU,
                                                    at::kFloat, NextId(), std::move(kept)));
}

const AdapterLayers& Adapter::text(size_t index) const {
  static const AdapterLayers kNone;
  return index < texts_.size() ? texts_[index] : kNone;
}

std::shared_ptr<const Adapter> Adapter::On(at::Device device, at::ScalarType dtype) const {
  if (device == device_ && dtype == dtype_) return shared_from_this();
  const MutexLock lock(mutex_);
  for (const std::shared_ptr<const Adapter>& copy : copies_) {
    if (copy->device() == device && copy->dtype() == dtype) return copy;
  }
  std::vector<AdapterLayers> texts;
  for (const AdapterLayers& text : texts_) texts.push_back(LayersOn(text, device, dtype));
  copies_.push_back(std::shared_ptr<const Adapter>(
      new Adapter(LayersOn(network_, device, dtype), std::move(texts), device, dtype, id_, kept_)));
  return copies_.back();
}

int64_t Adapter::bytes() const {
  int64_t bytes = BytesOf(network_);
  for (const AdapterLayers& text : texts_) bytes += BytesOf(text);
  return bytes;
}

bool SameAdapters(const AppliedAdapters& a, const AppliedAdapters& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const AppliedAdapter& x, const AppliedAdapter& y) {
                      return x.adapter->id() == y.adapter->id() && x.scale == y.scale;
                    });
}

bool ChangeNetwork(const AppliedAdapters& adapters) {
  return std::any_of(adapters.begin(), adapters.end(), [](const AppliedAdapter& applied) {
    return applied.scale != 0 && !applied.adapter->network().empty();
  });
}

}  // namespace denoise
