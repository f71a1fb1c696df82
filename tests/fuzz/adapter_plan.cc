#include "core/pipeline/adapter_plan.h"

#include "core/base/field_violations.h"
#include "tests/fuzz/fuzz_target.h"

namespace denoise {
namespace {

const AdapterTarget& Target() {
  static const AdapterTarget kTarget{
      .network = {{"conv_in", {8, 4, 3, 3}},
                  {"down_blocks.0.resnets.0.conv1", {8, 8, 3, 3}},
                  {"down_blocks.0.attentions.0.proj_in", {8, 8, 1, 1}},
                  {"mid_block.attentions.0.transformer_blocks.0.attn1.to_q", {8, 8}},
                  {"up_blocks.0.upsamplers.0.conv", {8, 8, 3, 3}},
                  {"up_blocks.0.resnets.0.conv1", {8, 16, 3, 3}}},
      .texts = {{"text_encoder", {{"text_model.encoder.layers.0.mlp.fc1", {16, 8}}}}}};
  return kTarget;
}

void RequirePairs(const SafetensorsHeader& header, const PlannedPairs& pairs,
                  const LayerShapes& layers) {
  for (const auto& [layer, pair] : pairs) {
    Require(layers.contains(layer), "every pair belongs to a layer");
    const std::vector<int64_t>& weight = layers.at(layer);
    const std::vector<int64_t>& down = header.tensors.at(pair.down).shape;
    const std::vector<int64_t>& up = header.tensors.at(pair.up).shape;
    Require(down.at(0) >= 1 && down[0] <= kMaxAdapterRank && up.at(1) == down[0],
            "both halves have one rank, which is bounded");
    Require(up.at(0) == weight.at(0) && down.at(1) == weight.at(1), "a pair fits its layer");
    Require(pair.alpha.empty() || header.tensors.contains(pair.alpha), "an alpha is in the file");
    Require(pair.divisor >= 1, "alpha is divided by a rank");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<SafetensorsHeader> header = ParseSafetensorsHeader(AsText(data, size));
  if (!header.ok()) return 0;
  const absl::StatusOr<AdapterPlan> plan = PlanAdapter(*header, Target());
  if (!plan.ok()) {
    Require(absl::IsInvalidArgument(plan.status()), "a bad adapter is INVALID_ARGUMENT");
    Require(GetFieldViolations(plan.status()).size() <= 20, "an error is of readable length");
    return 0;
  }
  Require(plan->texts.size() == Target().texts.size(), "every text encoder has its place");
  RequirePairs(*header, plan->network, Target().network);
  RequirePairs(*header, plan->texts[0], Target().texts[0].layers);
  Require(!plan->network.empty() || !plan->texts[0].empty(), "an adapter changes something");
  return 0;
}

}  // namespace denoise
