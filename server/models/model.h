// Models of the served folder.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/codec/codec.h"
#include "core/nn/network.h"
#include "core/pipeline/adapter_names.h"
#include "core/pipeline/prompt.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/options/scheduler_config.h"
#include "core/sampling/schedules/schedule.h"
#include "server/engine/generation.h"
#include "server/models/model_id.h"
#include "server/models/model_memory.h"

namespace denoise {

// What is known of a model without its weights. Requests and settings of jobs are checked against
// it.
struct ModelInfo {
  std::string source;  // "DDPMPipeline / UNet2DModel, diffusers 0.40.0"
  NetworkSpec spec;
  CodecSpec codec;
  Schedule schedule;
  SchedulerConfig scheduler;
  SamplerOptions default_sampler;                           // for requests that choose none
  std::map<int64_t, std::string> id2label;                  // may be empty, or lack labels
  std::optional<int64_t> null_class_label;                  // the class that stands for none
  std::shared_ptr<const PromptReader> prompts = nullptr;    // null where it takes no prompts
  double guidance_scale = 1;                                // where a request says nothing; 1: none
  std::shared_ptr<const AdapterTarget> adapters = nullptr;  // null where it takes no adapters

  bool is_class_conditional() const { return spec.num_class_embeds > 0; }
  bool can_be_guided() const { return null_class_label.has_value() || prompts != nullptr; }
  // What the sides of images are multiples of, in pixels; 0: they are the model's own.
  int64_t size_multiple() const { return spec.size_multiple * codec.factor; }
};

// One version of a model, without its weights: holding one costs next to nothing. Immutable.
struct Model : ModelInfo {
  std::string id;            // server/models/model_id.h
  std::string version;       // a hash of its files
  int64_t memory_bytes = 0;  // of its weights on each device, while they are in memory
};

using ModelHandle = std::shared_ptr<const Model>;

// A model in memory. Whoever holds one keeps its weights alive, and their memory from other models.
// Immutable.
struct LoadedModel {
  ModelHandle model;
  PipelineReplicas pipelines;  // one per device
  ModelMemory::Reservation memory = {};
};

using LoadedModelHandle = std::shared_ptr<const LoadedModel>;

}  // namespace denoise
