// The tensors of a StateDict as LibTorch's operators on many tensors take them.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/nn/state_dict.h"

namespace denoise {

// In the order of their names, so that the lists of two dictionaries with the same names match. The
// list shares the tensors' memory.
inline std::vector<at::Tensor> TensorList(const StateDict& tensors) {
  std::vector<at::Tensor> list;
  list.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) list.push_back(tensor);
  return list;
}

// Those that `names` has, too.
inline std::vector<at::Tensor> TensorList(const StateDict& tensors, const StateDict& names) {
  std::vector<at::Tensor> list;
  list.reserve(names.size());
  for (const auto& [name, other] : names) list.push_back(tensors.at(name));
  return list;
}

// One for each of `tensors`, made by function(tensor).
template <class Function>
StateDict MapTensors(const StateDict& tensors, Function function) {
  StateDict mapped;
  for (const auto& [name, tensor] : tensors)
    mapped.emplace_hint(mapped.end(), name, function(tensor));
  return mapped;
}

}  // namespace denoise
