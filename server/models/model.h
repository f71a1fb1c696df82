// A model that is loaded and ready, and what it is called.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/nn/network.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/options/scheduler_config.h"
#include "core/sampling/schedules/schedule.h"
#include "server/engine/generation.h"

namespace denoise {

// Immutable and shared: whoever holds one keeps its weights alive.
struct Model {
  std::string id;  // the folder's name, "emoji-32"
  std::string version;
  std::string source;
  NetworkSpec spec;
  Schedule schedule;
  SchedulerConfig scheduler;
  SamplerOptions default_sampler;           // what a request gets that asks for nothing
  std::map<int64_t, std::string> id2label;  // may be empty, or lack labels
  std::optional<int64_t> null_class_label;  // the class that stands for none
  NetworkReplicas networks;                 // one per device

  bool is_class_conditional() const { return spec.num_class_embeds > 0; }
};

using ModelHandle = std::shared_ptr<const Model>;

// Whether a folder of this name can be served: [a-zA-Z0-9][a-zA-Z0-9._-]*, at most 128 characters.
// In particular such a name is no path.
bool IsValidModelId(std::string_view id);

// "models/emoji-32".
std::string ModelName(std::string_view id);

// The id in "models/{id}"; nullopt where the name is malformed.
std::optional<std::string> ParseModelName(std::string_view name);

}  // namespace denoise
