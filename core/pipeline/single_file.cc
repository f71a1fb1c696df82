#include "core/pipeline/single_file.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

StoredTensor Third(const StoredTensor& tensor, int64_t index) {
  const int64_t rows = tensor.sizes()[0] / 3;
  return tensor.Rows(index * rows, rows);
}

StoredTensor Formed(const StoredTensor& tensor, TensorForm form) {
  switch (form) {
    case TensorForm::kWhole:
      return tensor;
    case TensorForm::kMatrix:
      return tensor.View({tensor.sizes()[0], tensor.sizes()[1]});
    case TensorForm::kTransposed:
      return tensor.Transposed();
    case TensorForm::kQuery:
      return Third(tensor, 0);
    case TensorForm::kKey:
      return Third(tensor, 1);
    case TensorForm::kValue:
      return Third(tensor, 2);
  }
  return tensor;
}

absl::Status CheckFamily(const SingleFileLayout& layout, const SingleFileConfigs& configs) {
  const auto& pipelines = layout.family->pipelines;
  if (std::find(pipelines.begin(), pipelines.end(), configs.pipeline) == pipelines.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "holds ", std::string(layout.family->name), ", but the configurations are those of a ",
        configs.pipeline, "; they must be of a ", std::string(pipelines.front())));
  }
  if (layout.unet_channels != configs.unet_channels) {
    return absl::InvalidArgumentError(absl::StrCat(
        "holds a network that reads ", layout.unet_channels, " channels, but in_channels of the ",
        "configurations is ", configs.unet_channels,
        "; networks that inpaint read 9, and need the configurations of one that does"));
  }
  return absl::OkStatus();
}

// Checks that the file and the configurations have the same text encoders.
absl::Status CheckTexts(const SingleFileLayout& layout, const SingleFileConfigs& configs) {
  std::set<std::string> in_file, in_configs;
  for (const auto& text : layout.family->texts) in_file.emplace(text.part);
  for (const auto& text : configs.texts) in_configs.insert(text.part);
  if (in_file == in_configs) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("holds ", absl::StrJoin(in_file, " and "), ", but the configurations have ",
                   in_configs.empty() ? "none" : absl::StrJoin(in_configs, " and ")));
}

}  // namespace

absl::StatusOr<StoredTensors> PartTensors(const SafetensorsFile& file, const PartOrigins& origins) {
  StoredTensors tensors;
  for (const auto& [name, origin] : origins) {
    ASSIGN_OR_RETURN(const StoredTensor tensor, file.Find(origin.original));
    tensors[name] = Formed(tensor, origin.form);
  }
  return tensors;
}

absl::StatusOr<std::map<std::string, Weights>> LoadSingleFile(const SafetensorsFile& file,
                                                              SingleFileLayout layout,
                                                              const SingleFileConfigs& configs,
                                                              const std::string& name) {
  RETURN_IF_ERROR(CheckFamily(layout, configs));
  RETURN_IF_ERROR(CheckTexts(layout, configs));
  for (const auto& text : configs.texts) {
    KeepTextLayers(text.part, text.layers, text.projection, layout);
  }
  std::map<std::string, Weights> weights;
  for (const auto& [part, origins] : layout.parts) {
    ASSIGN_OR_RETURN(StoredTensors tensors, PartTensors(file, origins));
    weights[part] = {
        .tensors = std::move(tensors), .file = absl::StrCat(name, ": ", part), .files = {}};
  }
  // Held by one part, since a model's version hashes the files of all.
  if (!weights.empty()) weights.begin()->second.files.emplace(name, file);
  return weights;
}

}  // namespace denoise
