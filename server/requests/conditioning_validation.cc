#include "server/requests/conditioning_validation.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

using denoised::v1::GenerateRequest;

// Far above any use, far below where float32 overflows.
constexpr double kMaxGuidanceScale = 1e4;
constexpr int kMaxClassWeights = 8;

// A bound of the guidance's interval.
struct Bound {
  const char* field;
  bool present;
  double value;
};

void CheckInterval(const Bound& min, const Bound& max, FieldViolations& violations) {
  for (const Bound& bound : {min, max}) {
    if (bound.present && !std::isfinite(bound.value)) {
      violations.Add(bound.field, absl::StrCat("must be finite, is ", bound.value));
    }
  }
  if (min.present && max.present && min.value > max.value) {
    violations.Add(min.field, absl::StrCat("must not be above ", max.value, ", is ", min.value));
  }
}

void CheckIntervals(const denoised::v1::Guidance& guidance, FieldViolations& violations) {
  const Bound timestep_min{"guidance.timestep_min", guidance.has_timestep_min(),
                           guidance.timestep_min()};
  const Bound timestep_max{"guidance.timestep_max", guidance.has_timestep_max(),
                           guidance.timestep_max()};
  const Bound sigma_min{"guidance.sigma_min", guidance.has_sigma_min(), guidance.sigma_min()};
  const Bound sigma_max{"guidance.sigma_max", guidance.has_sigma_max(), guidance.sigma_max()};
  CheckInterval(timestep_min, timestep_max, violations);
  CheckInterval(sigma_min, sigma_max, violations);
  for (const Bound& bound : {sigma_min, sigma_max}) {
    if (bound.value < 0)
      violations.Add(bound.field, absl::StrCat("must be at least 0, is ", bound.value));
  }
  if (!timestep_min.present && !timestep_max.present) return;
  for (const Bound& bound : {sigma_min, sigma_max}) {
    if (bound.present) violations.Add(bound.field, "must be absent beside a bound on timesteps");
  }
}

void CheckLabel(std::string_view field, int64_t label, const Model& model,
                FieldViolations& violations) {
  if (label < 0 || label >= model.spec.num_class_embeds) {
    violations.Add(field, absl::StrCat("must be between 0 and ", model.spec.num_class_embeds - 1,
                                       ", is ", label));
  }
}

void CheckClassWeights(const GenerateRequest& request, const Model& model,
                       FieldViolations& violations) {
  if (request.class_weights_size() > kMaxClassWeights) {
    violations.Add("class_weights", absl::StrCat("must be at most ", kMaxClassWeights, ", are ",
                                                 request.class_weights_size()));
    return;
  }
  std::set<int32_t> seen;
  for (int i = 0; i < request.class_weights_size(); ++i) {
    const denoised::v1::ClassWeight& entry = request.class_weights(i);
    const std::string field = absl::StrCat("class_weights[", i, "].");
    CheckLabel(field + "class_label", entry.class_label(), model, violations);
    if (!seen.insert(entry.class_label()).second) {
      violations.Add(field + "class_label",
                     absl::StrCat(entry.class_label(), " must not be listed twice"));
    }
    if (!(std::isfinite(entry.weight()) && entry.weight() > 0)) {
      violations.Add(field + "weight",
                     absl::StrCat("must be finite and above 0, is ", entry.weight()));
    }
  }
}

void CheckClasses(const GenerateRequest& request, const Model& model, FieldViolations& violations) {
  const bool has_weights = request.class_weights_size() > 0;
  if (!model.is_class_conditional()) {
    constexpr char kAbsent[] = "must be absent: this model is not class-conditional";
    if (request.has_class_label()) violations.Add("class_label", kAbsent);
    if (has_weights) violations.Add("class_weights", kAbsent);
    return;
  }
  if (!request.has_class_label() && !has_weights) {
    violations.Add("class_label", "is required: this model is class-conditional");
  }
  if (request.has_class_label() && has_weights) {
    violations.Add("class_weights", "must be absent beside class_label");
  }
  if (request.has_class_label()) {
    CheckLabel("class_label", request.class_label(), model, violations);
  }
  CheckClassWeights(request, model, violations);
}

// Divided by the largest first, lest the sum be infinite.
std::vector<WeightedCondition> ClassConditions(const GenerateRequest& request) {
  if (request.has_class_label()) return {{ClassCondition(request.class_label())}};
  double largest = 0, sum = 0;
  for (const auto& entry : request.class_weights()) largest = std::max(largest, entry.weight());
  for (const auto& entry : request.class_weights()) sum += entry.weight() / largest;
  std::vector<WeightedCondition> conditions;
  for (const auto& entry : request.class_weights()) {
    conditions.push_back({.condition = ClassCondition(entry.class_label()),
                          .weight = entry.weight() / largest / sum});
  }
  return conditions;
}

Guidance GuidanceOf(const denoised::v1::Guidance& proto) {
  Guidance guidance{.scale = proto.scale(), .rescale = proto.rescale()};
  if (proto.has_timestep_min()) guidance.timesteps.min = proto.timestep_min();
  if (proto.has_timestep_max()) guidance.timesteps.max = proto.timestep_max();
  if (proto.has_sigma_min()) guidance.sigmas.min = proto.sigma_min();
  if (proto.has_sigma_max()) guidance.sigmas.max = proto.sigma_max();
  return guidance;
}

}  // namespace

void CheckGuidance(const denoised::v1::Guidance& guidance, FieldViolations& violations) {
  if (!(guidance.scale() >= 0 && guidance.scale() <= kMaxGuidanceScale)) {  // NaN is neither
    violations.Add("guidance.scale", absl::StrCat("must be between 0 and ", kMaxGuidanceScale,
                                                  ", is ", guidance.scale()));
  }
  if (!(guidance.rescale() >= 0 && guidance.rescale() <= 1)) {
    violations.Add("guidance.rescale",
                   absl::StrCat("must be between 0 and 1, is ", guidance.rescale()));
  }
  CheckIntervals(guidance, violations);
}

void CheckConditioning(const GenerateRequest& request, const Model& model,
                       const RequestLimits& limits, FieldViolations& violations) {
  CheckClasses(request, model, violations);
  const bool guided = request.has_guidance() && request.guidance().scale() != 1;
  if (guided && !model.can_be_guided()) {
    violations.Add(
        "guidance",
        model.is_class_conditional()
            ? "must be absent: this model does not say which of its class labels means "
              "\"no class\". If it was trained with one, whoever runs the server can add "
              "\"null_class_label\": LABEL to the model_index.json of the model; see "
              "docs/guidance.md"
            : "must be absent: this model has no classes");
  }
  if (const int rows = request.class_weights_size() + (guided ? 1 : 0); rows > limits.max_rows) {
    violations.Add("class_weights", absl::StrCat("an image takes ", rows,
                                                 " rows with its guidance; the server evaluates ",
                                                 limits.max_rows, " at once"));
  }
}

Guidance ResolveGuidance(const GenerateRequest& request, const Model& model) {
  if (request.has_guidance()) return GuidanceOf(request.guidance());
  return {.scale = model.guidance_scale};
}

Conditioning ResolveConditioning(const GenerateRequest& request, const Model& model) {
  Conditioning conditioning;
  if (model.null_class_label) conditioning.unconditional = ClassCondition(*model.null_class_label);
  if (model.is_class_conditional()) conditioning.conditions = ClassConditions(request);
  conditioning.guidance = ResolveGuidance(request, model);
  return conditioning;
}

}  // namespace denoise
