// The tensors of a StateDict as lists, which LibTorch's _foreach operators take.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/nn/state_dict.h"

namespace denoise {

// In the order of their names, so lists of dictionaries with the same names match. Shares the
// tensors' memory.
inline std::vector<at::Tensor> TensorList(const StateDict& tensors) {
  std::vector<at::Tensor> list;
  list.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) list.push_back(tensor);
  return list;
}

// Only the tensors whose names `names` also has.
inline std::vector<at::Tensor> TensorList(const StateDict& tensors, const StateDict& names) {
  std::vector<at::Tensor> list;
  list.reserve(names.size());
  for (const auto& [name, other] : names) list.push_back(tensors.at(name));
  return list;
}

// function(tensor) for each tensor, under the same name.
template <class Function>
StateDict MapTensors(const StateDict& tensors, Function function) {
  StateDict mapped;
  for (const auto& [name, tensor] : tensors)
    mapped.emplace_hint(mapped.end(), name, function(tensor));
  return mapped;
}

}  // namespace denoise
