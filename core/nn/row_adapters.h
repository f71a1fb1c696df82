// The adapters of a batch's rows, as the layers of a network see them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/nn/adapter.h"

namespace denoise::nn {

// Rows may have different adapters: each run of rows with the same ones is computed together. Row
// by row, each is computed from memory of its own, so that its bits do not depend on the others. A
// layer adds what its adapters change to what it computes with its own weights, which costs
// rank * (in + out) products for each token.
class RowAdapters {
 public:
  // None.
  RowAdapters() = default;
  // Of a network: one list for each row, or none.
  RowAdapters(const std::vector<AppliedAdapters>& rows, at::Device device, at::ScalarType dtype,
              bool row_by_row);
  // Of the model's text encoder `index`: the same adapters for all `rows`, row by row on the CPU.
  static RowAdapters ForText(const AppliedAdapters& adapters, size_t index, int64_t rows,
                             at::Device device, at::ScalarType dtype);

  bool empty() const { return runs_.empty(); }

  // Rows [first, first + count), which become rows 0 and up.
  RowAdapters Narrow(int64_t first, int64_t count) const;

  // Adds to y [B, ..., out] what the adapters of layer `name` make of x [B, ..., in]. `y` must not
  // share its memory with another tensor.
  void AddLinear(std::string_view name, const at::Tensor& x, at::Tensor& y) const;

  // The same for a convolution, of images [B, in, H, W] and [B, out, H', W'].
  void AddConvolution(std::string_view name, const at::Tensor& x, int64_t stride, int64_t padding,
                      at::Tensor& y) const;

 private:
  // A change of all layers, for consecutive rows.
  struct Change {
    std::shared_ptr<const Adapter> adapter;  // keeps `layers` alive
    const AdapterLayers* layers;
    double scale;
  };
  struct Run {
    int64_t first = 0;
    int64_t count = 0;
    std::vector<Change> changes;  // not empty
  };

  // The changes of `adapters` by the layers that `layers_of` an adapter returns.
  template <typename LayersOf>
  static Run MakeRun(const AppliedAdapters& adapters, at::Device device, at::ScalarType dtype,
                     const LayersOf& layers_of);

  // Calls f(pair, scale, first, count) for the pieces of rows that layer `name` changes.
  template <typename Function>
  void ForEach(std::string_view name, const Function& f) const;

  std::vector<Run> runs_;
  bool row_by_row_ = false;
};

}  // namespace denoise::nn
