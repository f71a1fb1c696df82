#include "core/pipeline/clip_prompts.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros_like.h>

#include <array>
#include <bit>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "core/base/check.h"
#include "core/base/mutex.h"
#include "core/pipeline/prompt.h"
#include "core/text/encoders/prompt_states.h"

namespace denoise {
namespace {

int64_t BytesOf(const PromptStates& prompt) {
  const auto bytes = [](const at::Tensor& t) {
    return t.defined() ? t.numel() * static_cast<int64_t>(t.element_size()) : 0;
  };
  return bytes(prompt.states) + bytes(prompt.pooled);
}

// The states of prompts by their keys; forgets those that were used least recently. Thread-safe.
class StatesCache {
 public:
  explicit StatesCache(int64_t bytes_max) : bytes_max_(bytes_max) {}

  std::optional<PromptStates> Find(const std::string& key) ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    const auto found = places_.find(key);
    if (found == places_.end()) return std::nullopt;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->states;
  }

  void Add(const std::string& key, const PromptStates& states) ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    if (places_.contains(key) || BytesOf(states) > bytes_max_) return;
    entries_.push_front({key, states});
    places_[key] = entries_.begin();
    bytes_ += BytesOf(states);
    while (bytes_ > bytes_max_) {
      bytes_ -= BytesOf(entries_.back().states);
      places_.erase(entries_.back().key);
      entries_.pop_back();
    }
  }

 private:
  struct Entry {
    std::string key;
    PromptStates states;
  };

  const int64_t bytes_max_;
  Mutex mutex_;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);  // the most recently used first
  std::map<std::string, std::list<Entry>::iterator> places_ ABSL_GUARDED_BY(mutex_);
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

class ClipPromptEncoder final : public PromptEncoder {
 public:
  ClipPromptEncoder(std::vector<std::shared_ptr<const ClipTextEncoder>> encoders,
                    StatesOfClipSkip states, const Placement& network, int64_t cache_bytes)
      : encoders_(std::move(encoders)),
        states_(states),
        network_(network),
        cache_bytes_(cache_bytes),
        cache_(cache_bytes) {
    DENOISE_DCHECK(!encoders_.empty());
  }

  std::vector<SharedCondition> Encode(
      const std::vector<SharedCondition>& conditions) const override {
    std::map<std::string, PromptStates> states_by_key;
    // Prompts that are not in the cache, by what their encoders are asked for.
    std::map<std::pair<int64_t, std::string>, Group> missing;
    for (const SharedCondition& condition : conditions) {
      std::string key = KeyOf(*condition);
      if (std::optional<PromptStates> found = cache_.Find(key)) {
        states_by_key[key] = *std::move(found);
        continue;
      }
      const int64_t clip_skip = condition->prompt->clip_skip;
      Group& group = missing[{clip_skip, AdaptersKey(condition->adapters)}];
      group.clip_skip = clip_skip;
      group.adapters = condition->adapters;
      group.prompts[std::move(key)] = condition->prompt;
    }
    for (const auto& [asked, group] : missing) EncodeTogether(group, states_by_key);
    std::vector<SharedCondition> encoded;
    for (const SharedCondition& condition : conditions) {
      encoded.push_back(WithStates(*condition, states_by_key.at(KeyOf(*condition))));
    }
    return encoded;
  }

  std::shared_ptr<const PromptEncoder> To(at::Device device, at::ScalarType dtype) const override {
    std::vector<std::shared_ptr<const ClipTextEncoder>> encoders;
    for (const auto& encoder : encoders_) {
      const bool stays = encoder->device() != network_.device;
      encoders.push_back(stays ? encoder : encoder->To(device, dtype));
    }
    return ClipPrompts(std::move(encoders), states_, {device, dtype}, cache_bytes_);
  }

 private:
  // Prompts of one call, by their keys.
  struct Group {
    int64_t clip_skip = 0;
    AppliedAdapters adapters;
    std::map<std::string, std::shared_ptr<const Prompt>> prompts;
  };

  // The same for adapters that do the same to the encoders.
  std::string AdaptersKey(const AppliedAdapters& adapters) const {
    std::string key;
    for (const auto& [adapter, scale] : adapters) {
      bool changes = false;
      for (size_t i = 0; i < encoders_.size(); ++i) changes |= !adapter->text(i).empty();
      if (!changes || scale == 0) continue;
      const auto id = std::bit_cast<std::array<char, sizeof(uint64_t)>>(adapter->id());
      const auto factor = std::bit_cast<std::array<char, sizeof(double)>>(scale);
      key.append(id.data(), id.size()).append(factor.data(), factor.size());
    }
    return key;
  }

  // The number of bytes about adapters stands in front, so that no two keys are the same by chance.
  std::string KeyOf(const Condition& condition) const {
    const std::string adapters = AdaptersKey(condition.adapters);
    return std::to_string(adapters.size()) + ":" + adapters + PromptKey(*condition.prompt);
  }

  void EncodeTogether(const Group& group,
                      std::map<std::string, PromptStates>& states_by_key) const {
    const auto& prompts = group.prompts;
    std::vector<std::vector<PromptStates>> parts;  // of each encoder, in the order of `prompts`
    for (size_t i = 0; i < encoders_.size(); ++i) {
      std::vector<TokenizedPrompt> texts;
      for (const auto& [key, prompt] : prompts) texts.push_back(prompt->texts.at(i));
      parts.push_back(EncodePrompts(*encoders_[i], texts, states_(group.clip_skip),
                                    {.adapters = group.adapters, .index = i}));
    }
    size_t j = 0;
    for (const auto& [key, prompt] : prompts) {
      std::vector<at::Tensor> side_by_side;
      for (const auto& part : parts) side_by_side.push_back(part[j].states.to(network_.device));
      PromptStates states{.states = at::cat(side_by_side, 1), .pooled = parts.back()[j].pooled};
      if (states.pooled.defined()) states.pooled = states.pooled.to(network_.device);
      if (prompt->zeros) states = Zeros(states);
      cache_.Add(key, states);
      states_by_key[key] = std::move(states);
      ++j;
    }
  }

  static PromptStates Zeros(const PromptStates& states) {
    return {.states = at::zeros_like(states.states),
            .pooled = states.pooled.defined() ? at::zeros_like(states.pooled) : at::Tensor()};
  }

  // `condition` with the states of its text, on the network's device.
  SharedCondition WithStates(Condition condition, const PromptStates& states) const {
    condition.text_states = states.states;
    condition.pooled_text = states.pooled;
    for (at::Tensor* tensor :
         {&condition.time_ids, &condition.guidance_scale, &condition.channels}) {
      if (tensor->defined()) *tensor = tensor->to(network_.device);
    }
    return std::make_shared<const Condition>(std::move(condition));
  }

  const std::vector<std::shared_ptr<const ClipTextEncoder>> encoders_;
  const StatesOfClipSkip states_;
  const Placement network_;
  const int64_t cache_bytes_;
  mutable StatesCache cache_;
};

}  // namespace

std::shared_ptr<const PromptEncoder> ClipPrompts(
    std::vector<std::shared_ptr<const ClipTextEncoder>> encoders, StatesOfClipSkip states,
    const Placement& network, int64_t cache_bytes) {
  return std::make_shared<const ClipPromptEncoder>(std::move(encoders), states, network,
                                                   cache_bytes);
}

}  // namespace denoise
