#include "core/pipeline/adapter_file.h"

#include <cmath>
#include <string>
#include <utility>

#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/io/weights.h"
#include "core/nn/state_dict.h"

namespace denoise {
namespace {

// The planned tensors, whose values are finite.
absl::StatusOr<StateDict> ReadTensors(const SafetensorsFile& file, const AdapterPlan& plan) {
  StateDict tensors;
  const auto read = [&](const PlannedPairs& pairs) -> absl::Status {
    for (const auto& [layer, pair] : pairs) {
      for (const std::string* name : {&pair.down, &pair.up, &pair.alpha}) {
        if (name->empty()) continue;
        ASSIGN_OR_RETURN(tensors[*name], file.Get(*name));
      }
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(read(plan.network));
  for (const PlannedPairs& text : plan.texts) RETURN_IF_ERROR(read(text));
  RETURN_IF_ERROR(CheckFinite(tensors));
  return tensors;
}

// In memory of its own, without the ones at the end of a shape.
at::Tensor Owned(const at::Tensor& tensor) {
  at::Tensor owned = tensor.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  while (owned.dim() > 2 && owned.size(-1) == 1) owned = owned.squeeze(-1);
  return owned.contiguous();
}

absl::StatusOr<AdapterLayers> MakeLayers(const PlannedPairs& pairs, const StateDict& tensors) {
  AdapterLayers layers;
  for (const auto& [layer, pair] : pairs) {
    const double alpha = pair.alpha.empty() ? pair.alpha_value
                                            : tensors.at(pair.alpha).to(at::kDouble).item<double>();
    const double factor = alpha / pair.divisor;
    // In float32, too, which is what the change is computed in.
    if (!std::isfinite(static_cast<float>(factor))) {
      return InvalidField(Escaped(layer), "must have an alpha within float32");
    }
    layers[layer] = {Owned(tensors.at(pair.down)), Owned(tensors.at(pair.up)), factor};
  }
  return layers;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Adapter>> ReadAdapter(const SafetensorsFile& file,
                                                           const AdapterPlan& plan,
                                                           std::shared_ptr<const void> kept) {
  ASSIGN_OR_RETURN(const StateDict tensors, ReadTensors(file, plan));
  ASSIGN_OR_RETURN(AdapterLayers network, MakeLayers(plan.network, tensors));
  std::vector<AdapterLayers> texts;
  for (const PlannedPairs& text : plan.texts) {
    ASSIGN_OR_RETURN(AdapterLayers layers, MakeLayers(text, tensors));
    texts.push_back(std::move(layers));
  }
  return Adapter::Create(std::move(network), std::move(texts), std::move(kept));
}

absl::StatusOr<SafetensorsHeader> ReadAdapterHeader(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path, kMaxAdapterBytes));
  return file.header();
}

absl::StatusOr<std::shared_ptr<const Adapter>> ReadAdapter(const std::filesystem::path& path,
                                                           const AdapterTarget& target) {
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path, kMaxAdapterBytes));
  ASSIGN_OR_RETURN(const AdapterPlan plan, PlanAdapter(file.header(), target));
  return ReadAdapter(file, plan);
}

}  // namespace denoise
