#include "core/train/step_losses.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "core/base/status_macros.h"

namespace denoise {
namespace {

double WeightedMean(std::span<const float> losses, const std::vector<float>& weights) {
  double sum = 0;
  for (size_t row = 0; row < weights.size(); ++row) sum += double{losses[row]} * weights[row];
  return sum / static_cast<double>(weights.size());
}

}  // namespace

void StepLosses::Add(const Objective::Losses& losses) {
  loss_.push_back(losses.loss.detach());
  if (losses.simple.defined()) simple_.push_back(losses.simple.detach());
  if (losses.vlb.defined()) vlb_.push_back(losses.vlb.detach());
}

// Adds up losses that are 0 for the rows of other ranks: the sums are exact.
absl::StatusOr<bool> StepLosses::Gather(RankGroup& group, int batch_size,
                                        at::Tensor& gradient_norm) {
  const RankGroup::Share share = group.share(batch_size);
  std::vector<std::vector<at::Tensor>*> kinds = {&loss_};
  for (auto* kind : {&simple_, &vlb_}) {
    if (!kind->empty()) kinds.push_back(kind);
  }
  const int64_t losses = static_cast<int64_t>(kinds.size()) * batch_size;
  at::Tensor all = at::zeros({losses + 2}, loss_.front().options());
  int64_t first = 0;
  for (const auto* kind : kinds) {
    all.narrow(0, first + share.first, share.rows()).copy_(at::cat(*kind));
    first += batch_size;
  }
  if (group.leaves()) all[losses].fill_(1);
  if (group.rank() == 0) all[losses + 1].copy_(gradient_norm);
  RETURN_IF_ERROR(group.Sum(all));
  first = 0;
  for (auto* kind : kinds) {
    *kind = {all.narrow(0, first, batch_size)};
    first += batch_size;
  }
  gradient_norm = all[losses + 1];
  return all[losses].item<float>() > 0;
}

StepLosses::Values StepLosses::Read(const std::vector<float>& weights,
                                    const at::Tensor& gradient_norm) const {
  std::vector<at::Tensor> parts = {gradient_norm.view({1})};
  for (const auto* losses : {&loss_, &simple_, &vlb_}) {
    parts.insert(parts.end(), losses->begin(), losses->end());
  }
  const at::Tensor all = at::cat(parts).to(at::kCPU);

  std::span<const float> values(all.data_ptr<float>(), static_cast<size_t>(all.numel()));
  const size_t rows = weights.size();
  Values read;
  read.gradient_norm = values[0];
  read.rows = all.narrow(0, 1, static_cast<int64_t>(rows));
  values = values.subspan(1);
  read.finite = std::isfinite(read.gradient_norm) &&
                std::all_of(values.begin(), values.begin() + static_cast<int64_t>(rows),
                            [](float loss) { return std::isfinite(loss); });
  const auto next = [&] {
    const double mean = WeightedMean(values.first(rows), weights);
    values = values.subspan(rows);
    return mean;
  };
  read.loss = next();
  if (!simple_.empty()) read.simple = next();
  if (!vlb_.empty()) read.vlb = next();
  return read;
}

}  // namespace denoise
