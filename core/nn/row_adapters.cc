#include "core/nn/row_adapters.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/linear.h>

#include <algorithm>
#include <utility>

namespace denoise::nn {
namespace {

// Rows of x. On the CPU they get memory of their own: a matrix product adds in an order that
// depends on the alignment of its operands.
at::Tensor OwnRows(const at::Tensor& x, int64_t first, int64_t count) {
  const at::Tensor rows = x.narrow(0, first, count);
  return x.is_cpu() ? rows.clone(at::MemoryFormat::Contiguous) : rows;
}

}  // namespace

template <typename LayersOf>
RowAdapters::Run RowAdapters::MakeRun(const AppliedAdapters& adapters, at::Device device,
                                      at::ScalarType dtype, const LayersOf& layers_of) {
  Run run;
  for (const auto& [adapter, scale] : adapters) {
    if (scale == 0 || layers_of(*adapter).empty()) continue;
    std::shared_ptr<const Adapter> here = adapter->On(device, dtype);
    const AdapterLayers* layers = &layers_of(*here);
    run.changes.push_back({std::move(here), layers, scale});
  }
  return run;
}

RowAdapters::RowAdapters(const std::vector<AppliedAdapters>& rows, at::Device device,
                         at::ScalarType dtype, bool row_by_row)
    : row_by_row_(row_by_row) {
  const int64_t count = static_cast<int64_t>(rows.size());
  for (int64_t first = 0, end = 0; first < count; first = end) {
    const AppliedAdapters& applied = rows[static_cast<size_t>(first)];
    while (end < count && SameAdapters(rows[static_cast<size_t>(end)], applied)) ++end;
    Run run = MakeRun(applied, device, dtype,
                      [](const Adapter& a) -> const AdapterLayers& { return a.network(); });
    run.first = first;
    run.count = end - first;
    if (!run.changes.empty()) runs_.push_back(std::move(run));
  }
}

RowAdapters RowAdapters::ForText(const AppliedAdapters& adapters, size_t index, int64_t rows,
                                 at::Device device, at::ScalarType dtype) {
  RowAdapters result;
  result.row_by_row_ = device.is_cpu();
  Run run = MakeRun(adapters, device, dtype,
                    [&](const Adapter& a) -> const AdapterLayers& { return a.text(index); });
  run.count = rows;
  if (!run.changes.empty()) result.runs_.push_back(std::move(run));
  return result;
}

RowAdapters RowAdapters::Narrow(int64_t first, int64_t count) const {
  RowAdapters narrowed;
  narrowed.row_by_row_ = row_by_row_;
  for (const Run& run : runs_) {
    const int64_t begin = std::max(run.first, first);
    const int64_t end = std::min(run.first + run.count, first + count);
    if (begin < end) narrowed.runs_.push_back({begin - first, end - begin, run.changes});
  }
  return narrowed;
}

template <typename Function>
void RowAdapters::ForEach(std::string_view name, const Function& f) const {
  for (const Run& run : runs_) {
    for (const Change& change : run.changes) {
      const auto pair = change.layers->find(name);
      if (pair == change.layers->end()) continue;
      const int64_t piece = row_by_row_ ? 1 : run.count;
      for (int64_t first = run.first; first < run.first + run.count; first += piece) {
        f(pair->second, change.scale * pair->second.factor, first, piece);
      }
    }
  }
}

void RowAdapters::AddLinear(std::string_view name, const at::Tensor& x, at::Tensor& y) const {
  ForEach(name, [&](const LowRankPair& pair, double scale, int64_t first, int64_t count) {
    const at::Tensor inner = at::linear(OwnRows(x, first, count), pair.down) * scale;
    y.narrow(0, first, count).add_(at::linear(inner, pair.up));
  });
}

void RowAdapters::AddConvolution(std::string_view name, const at::Tensor& x, int64_t stride,
                                 int64_t padding, at::Tensor& y) const {
  ForEach(name, [&](const LowRankPair& pair, double scale, int64_t first, int64_t count) {
    const at::Tensor image = OwnRows(x, first, count);
    const at::Tensor down = pair.down.dim() == 4 ? pair.down : pair.down.unsqueeze(2).unsqueeze(3);
    const at::Tensor inner =
        at::conv2d(image, down, {}, {stride, stride}, {padding, padding}) * scale;
    const at::Tensor pixels = at::linear(inner.permute({0, 2, 3, 1}).contiguous(), pair.up);
    y.narrow(0, first, count).add_(pixels.permute({0, 3, 1, 2}));
  });
}

}  // namespace denoise::nn
