#include "core/pipeline/adapter_file.h"

#include <ATen/Functions.h>

#include <cmath>
#include <string>
#include <utility>

#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

// In float32, without the ones at the end of its shape.
absl::StatusOr<at::Tensor> Read(const SafetensorsFile& file, const std::string& name) {
  ASSIGN_OR_RETURN(const StoredTensor stored, file.Find(name));
  ASSIGN_OR_RETURN(StoredTensor::Loaded loaded, stored.Load(at::kCPU, at::kFloat));
  if (loaded.num_not_finite > 0) {
    return InvalidField(Escaped(name), DescribeNotFinite(loaded.num_not_finite, stored.numel()));
  }
  at::Tensor tensor = std::move(loaded.tensor);
  while (tensor.dim() > 2 && tensor.size(-1) == 1) tensor = tensor.squeeze(-1);
  return tensor;
}

absl::StatusOr<double> AlphaOf(const SafetensorsFile& file, const PlannedPair& pair) {
  if (pair.alpha.empty()) return pair.alpha_value;
  ASSIGN_OR_RETURN(const double alpha, file.GetNumber(pair.alpha));
  if (!std::isfinite(alpha)) return InvalidField(Escaped(pair.alpha), DescribeNotFinite(1, 1));
  return alpha;
}

absl::StatusOr<AdapterLayers> ReadLayers(const SafetensorsFile& file, const PlannedPairs& pairs) {
  AdapterLayers layers;
  for (const auto& [layer, pair] : pairs) {
    ASSIGN_OR_RETURN(const double alpha, AlphaOf(file, pair));
    LowRankPair& read = layers[layer];
    read.factor = alpha / pair.divisor;
    // In float32, too, which is what the change is computed in.
    if (!std::isfinite(static_cast<float>(read.factor))) {
      return InvalidField(Escaped(layer), "must have an alpha within float32");
    }
    ASSIGN_OR_RETURN(read.down, Read(file, pair.down));
    ASSIGN_OR_RETURN(read.up, Read(file, pair.up));
  }
  return layers;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Adapter>> ReadAdapter(const SafetensorsFile& file,
                                                           const AdapterPlan& plan,
                                                           std::shared_ptr<const void> kept) {
  ASSIGN_OR_RETURN(AdapterLayers network, ReadLayers(file, plan.network));
  std::vector<AdapterLayers> texts;
  for (const PlannedPairs& text : plan.texts) {
    ASSIGN_OR_RETURN(AdapterLayers layers, ReadLayers(file, text));
    texts.push_back(std::move(layers));
  }
  return Adapter::Create(std::move(network), std::move(texts), std::move(kept));
}

absl::StatusOr<std::shared_ptr<const Adapter>> ReadAdapter(const std::filesystem::path& path,
                                                           const AdapterTarget& target) {
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path, kMaxAdapterBytes));
  ASSIGN_OR_RETURN(const AdapterPlan plan, PlanAdapter(file.header(), target));
  return ReadAdapter(file, plan);
}

}  // namespace denoise
