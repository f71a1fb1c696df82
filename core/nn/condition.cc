#include "core/nn/condition.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/stack.h>

#include <algorithm>

namespace denoise {
namespace {

// [B, ...], or undefined where the rows do not have the field.
at::Tensor Stack(const std::vector<SharedCondition>& rows, at::Tensor Condition::*field) {
  if (rows.empty() || !((*rows.front()).*field).defined()) return {};
  std::vector<at::Tensor> parts;
  for (const SharedCondition& row : rows) parts.push_back((*row).*field);
  return at::stack(parts);
}

at::Tensor PadTokens(const at::Tensor& states, int64_t tokens) {
  return at::constant_pad_nd(states, {0, 0, 0, tokens - states.size(0)});
}

void StackTexts(const std::vector<SharedCondition>& rows, Conditions& conditions) {
  if (rows.empty() || !rows.front()->text_states.defined()) return;
  std::vector<int64_t> lengths;
  for (const SharedCondition& row : rows) lengths.push_back(row->text_states.size(0));
  const auto [shortest, longest] = std::minmax_element(lengths.begin(), lengths.end());
  std::vector<at::Tensor> texts;
  for (const SharedCondition& row : rows) texts.push_back(PadTokens(row->text_states, *longest));
  conditions.text_states = at::stack(texts);
  if (*shortest != *longest) conditions.text_lengths = std::move(lengths);
}

void StackAdapters(const std::vector<SharedCondition>& rows, Conditions& conditions) {
  const auto adapted = [](const SharedCondition& row) { return !row->adapters.empty(); };
  if (std::none_of(rows.begin(), rows.end(), adapted)) return;
  for (const SharedCondition& row : rows) conditions.adapters.push_back(row->adapters);
}

}  // namespace

const SharedCondition& NoCondition() {
  static const SharedCondition kNone = std::make_shared<const Condition>();
  return kNone;
}

SharedCondition ClassCondition(int64_t class_label) {
  return std::make_shared<const Condition>(Condition{.class_label = class_label});
}

Conditions Conditions::Narrow(int64_t first, int64_t count) const {
  const auto rows = [&](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.narrow(0, first, count) : tensor;
  };
  Conditions narrowed{.class_labels = rows(class_labels),
                      .text_states = rows(text_states),
                      .pooled_text = rows(pooled_text),
                      .time_ids = rows(time_ids),
                      .guidance_scales = rows(guidance_scales),
                      .channels = rows(channels)};
  if (!text_lengths.empty()) {
    const auto begin = text_lengths.begin() + first;
    narrowed.text_lengths.assign(begin, begin + count);
  }
  if (!adapters.empty()) {
    const auto begin = adapters.begin() + first;
    narrowed.adapters.assign(begin, begin + count);
  }
  return narrowed;
}

void Conditions::CopyFrom(const Conditions& other) {
  const auto copy = [](at::Tensor& to, const at::Tensor& from) {
    if (to.defined()) to.copy_(from);
  };
  copy(text_states, other.text_states);
  copy(pooled_text, other.pooled_text);
  copy(time_ids, other.time_ids);
  copy(guidance_scales, other.guidance_scales);
  copy(channels, other.channels);
}

Conditions StackConditions(const std::vector<SharedCondition>& rows) {
  Conditions conditions{.pooled_text = Stack(rows, &Condition::pooled_text),
                        .time_ids = Stack(rows, &Condition::time_ids),
                        .guidance_scales = Stack(rows, &Condition::guidance_scale),
                        .channels = Stack(rows, &Condition::channels)};
  if (conditions.guidance_scales.defined()) {
    conditions.guidance_scales = conditions.guidance_scales.flatten();
  }
  StackTexts(rows, conditions);
  StackAdapters(rows, conditions);
  return conditions;
}

}  // namespace denoise
