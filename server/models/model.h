// A model that is loaded and ready to serve, and its names.
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

// What is known of a model without its weights. Requests and settings of jobs are checked against
// it.
struct ModelInfo {
  std::string source;  // "DDPMPipeline / UNet2DModel, diffusers 0.40.0"
  NetworkSpec spec;
  Schedule schedule;
  SchedulerConfig scheduler;
  SamplerOptions default_sampler;           // for requests that choose none
  std::map<int64_t, std::string> id2label;  // may be empty, or lack labels
  std::optional<int64_t> null_class_label;  // the class that stands for none

  bool is_class_conditional() const { return spec.num_class_embeds > 0; }
};

// A model that is being served. Immutable and shared: whoever holds one keeps its weights alive.
struct Model : ModelInfo {
  std::string id;            // the folder's name, "emoji-32"
  std::string version;       // a hash of its files
  NetworkReplicas networks;  // one per device
};

using ModelHandle = std::shared_ptr<const Model>;

// "models/emoji-32". Ids are valid resource ids (core/base/resource_id.h).
std::string ModelName(std::string_view id);

// The id in "models/{id}"; nullopt where the name is malformed.
std::optional<std::string> ParseModelName(std::string_view name);

}  // namespace denoise
