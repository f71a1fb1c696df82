// Makes the tensors of a new network.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/nn/state_dict.h"
#include "core/nn/weight_source.h"

namespace denoise::nn {

// Records every tensor that a network asks for and returns undefined ones. Afterwards all of them
// can be counted or made. Not thread-safe.
class WeightInitializer final : public WeightSource {
 public:
  at::Tensor Take(const std::vector<std::string>& names, at::IntArrayRef shape,
                  Initial initial) override;
  void Ignore(const std::string&) override {}
  void Replace(const std::string&, const at::Tensor&) override {}

  int64_t count() const;  // of elements in all tensors

  // The shapes of the tensors, by their names.
  std::map<std::string, std::vector<int64_t>> Shapes() const;

  // Makes all tensors in float32 on the CPU, drawn from one generator in the (byte) order of their
  // names. The draws are the same on any machine.
  StateDict Make(uint64_t seed) const;

  // Makes the same tensors one at a time, so that only one is in memory, and hands each to `use`
  // with its name. Ends with the first error of `use`.
  using UseTensor = std::function<absl::Status(const std::string& name, const at::Tensor& tensor)>;
  absl::Status MakeEach(uint64_t seed, const UseTensor& use) const;

 private:
  struct Spec {
    std::vector<int64_t> shape;
    Initial initial;
  };

  std::map<std::string, Spec> specs_;
};

}  // namespace denoise::nn
