// What a file of adapters says about a model's layers, from its header alone.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/io/safetensors_header.h"
#include "core/pipeline/adapter_names.h"

namespace denoise {

// The largest rank that is read.
inline constexpr int64_t kMaxAdapterRank = 2048;

// The change of one layer: names of tensors, whose shapes fit the layer.
struct PlannedPair {
  std::string down;   // [rank, in], [rank, in, 1, 1] or [rank, in, k, k]
  std::string up;     // [out, rank], perhaps followed by ones
  std::string alpha;  // of one number; empty: `alpha_value`
  double alpha_value = 1;
  double divisor = 1;  // alpha over it is the pair's factor: the rank, or its root
};
using PlannedPairs = std::map<std::string, PlannedPair>;  // by the names of layers

struct AdapterPlan {
  PlannedPairs network;
  std::vector<PlannedPairs> texts;  // as many as the target's
  int64_t num_parameters = 0;       // of all pairs
};

// `header` may be of any file. Reads the names that the Python libraries diffusers and peft give,
// whose alphas are in the metadata or are the ranks, and those of the kohya scripts.
// InvalidArgument with a violation for each tensor, up to 20: a layer that the model does not have,
// shapes of another model, a missing half, a layer that is changed twice, an adapter that is no
// LoRA.
absl::StatusOr<AdapterPlan> PlanAdapter(const SafetensorsHeader& header,
                                        const AdapterTarget& target);

// What a file says of itself, whatever model it is for.
struct AdapterSummary {
  int64_t rank = 0;  // the largest of its matrices
  int64_t num_parameters = 0;
  std::string base_model;  // what it was trained for; may be empty
  absl::Status error;      // why it fits no model: an adapter of another kind, or none
};
AdapterSummary Summarize(const SafetensorsHeader& header);

}  // namespace denoise
