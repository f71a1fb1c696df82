#include "core/train/model_state.h"

#include <c10/core/GradMode.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/train/tensor_list.h"

namespace denoise {
namespace {

at::Tensor Copy(const at::Tensor& tensor, at::Device device) {
  return tensor.detach().to(tensor.options().device(device), /*non_blocking=*/false,
                            /*copy=*/true);
}

using Group = std::pair<std::string, const StateDict*>;

// The parts of `model` and the prefixes of their names.
std::vector<Group> Groups(const ModelState& model) {
  std::vector<Group> groups = {
      {"weights.", &model.weights}, {"adam.m.", &model.moments.m}, {"adam.v.", &model.moments.v}};
  for (size_t i = 0; i < model.averages.size(); ++i) {
    groups.emplace_back(absl::StrCat("ema.", i, "."), &model.averages[i]);
  }
  return groups;
}

absl::Status CheckFits(const std::string& name, const at::Tensor& target, const StateDict& packed) {
  const auto found = packed.find(name);
  if (found == packed.end()) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", Quoted(name), " is missing"));
  }
  const at::Tensor& source = found->second;
  if (!source.defined() || source.scalar_type() != at::kFloat || source.sizes() != target.sizes()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", Quoted(name), " has another shape or dtype"));
  }
  return absl::OkStatus();
}

}  // namespace

ModelState InitialModelState(const StateDict& weights, size_t averages, at::Device device) {
  ModelState model;
  model.weights = MakeTrainable(weights, device);
  model.moments = ZeroMoments(model.weights);
  for (size_t i = 0; i < averages; ++i) {
    model.averages.push_back(CopyTo(device, model.weights));
  }
  return model;
}

StateDict PackModelState(const ModelState& model) {
  StateDict packed;
  for (const auto& [prefix, tensors] : Groups(model)) {
    for (const auto& [name, tensor] : *tensors) packed[prefix + name] = Copy(tensor, at::kCPU);
  }
  return packed;
}

absl::Status CheckPackedModelState(const StateDict& packed, const ModelState& model) {
  size_t expected = 0;
  for (const auto& [prefix, tensors] : Groups(model)) {
    for (const auto& [name, tensor] : *tensors) {
      RETURN_IF_ERROR(CheckFits(prefix + name, tensor, packed));
    }
    expected += tensors->size();
  }
  if (expected == packed.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("there are ", packed.size(), " tensors, not the ", expected, " of the network"));
}

void UnpackModelState(const StateDict& packed, ModelState& model) {
  const c10::AutoGradMode no_gradients(false);
  for (const auto& [prefix, tensors] : Groups(model)) {
    for (const auto& [name, tensor] : *tensors) tensor.copy_(packed.at(prefix + name));
  }
}

StateDict CopyTo(at::Device device, const StateDict& tensors) {
  return MapTensors(tensors, [device](const at::Tensor& tensor) { return Copy(tensor, device); });
}

}  // namespace denoise
