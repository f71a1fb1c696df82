#include "server/jobs/settings/common_settings.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/data/class_labels.h"
#include "core/sampling/samplers/compile_plan.h"
#include "proto/conversion/sampler_proto.h"

namespace denoise {
namespace {

constexpr double kMaxGuidanceScale = 1e4;  // the same as Generate's
constexpr double kGuidanceScale = 2;

ModelClasses ClassesOf(const ModelInfo& model) {
  return {.count = model.spec.num_class_embeds,
          .names = model.id2label,
          .null_class_label = model.null_class_label};
}

}  // namespace

void ResolveSampling(std::string_view prefix, const SettingsContext& context,
                     denoised::v1::SamplerOptions& sampler, FieldViolations& violations) {
  const ModelInfo& model = context.model;
  const ResolvedSampler resolved =
      ResolveSampler(sampler, model.scheduler, model.default_sampler, context.max_sampler_steps);
  violations.AddAll(prefix, resolved.violations);
  if (!resolved.violations.ok()) return;
  violations.AddAll(prefix, CompilePlan(model.schedule, resolved.options).status());
  sampler = SamplerToProto(EffectiveOverrides(resolved.options));
}

double ResolveGuidance(std::string_view prefix, bool present, double scale, const ModelInfo& model,
                       FieldViolations& violations) {
  const bool can_be_guided = model.null_class_label.has_value();
  if (!present) return can_be_guided ? kGuidanceScale : 1;
  const std::string field = std::string(prefix).append("guidance_scale");
  if (!std::isfinite(scale) || scale < 0 || scale > kMaxGuidanceScale) {
    violations.Add(field,
                   absl::StrCat("must be between 0 and ", kMaxGuidanceScale, ", is ", scale));
  } else if (scale != 1 && !can_be_guided) {
    violations.Add(field, "must be 1: the network has no class that stands for none");
  }
  return scale;
}

void CheckClasses(std::string_view field, const SettingsContext& context,
                  FieldViolations& violations) {
  if (!context.model.is_class_conditional()) return;
  std::vector<std::string> classes;
  for (const auto& one : context.data_set.report().classes()) classes.push_back(one.display_name());
  const auto labels = MatchClasses(classes, ClassesOf(context.model));
  if (!labels.ok()) violations.Add(field, std::string(labels.status().message()));
}

void CheckChannels(std::string_view field, const ModelInfo& model, FieldViolations& violations) {
  if (model.spec.sample.channels == 1 || model.spec.sample.channels == 3) return;
  violations.Add(field, absl::StrCat("makes pictures of ", model.spec.sample.channels,
                                     " channels; must be 1 or 3"));
}

absl::StatusOr<std::shared_ptr<const DataSet>> WithLabelsOf(const ModelInfo& model,
                                                            std::shared_ptr<const DataSet> data) {
  if (!model.is_class_conditional()) return data;
  ASSIGN_OR_RETURN(auto labels, MatchClasses(data->classes(), ClassesOf(model)));
  return Relabelled(std::move(data), std::move(labels));
}

absl::StatusOr<std::shared_ptr<const SamplerPlan>> PlanOf(
    const denoised::v1::SamplerOptions& sampler, const ModelInfo& model) {
  const ResolvedSampler resolved = ResolveSampler(sampler, model.scheduler, model.default_sampler,
                                                  std::numeric_limits<int>::max());
  RETURN_IF_ERROR(resolved.violations);
  ASSIGN_OR_RETURN(SamplerPlan plan, CompilePlan(model.schedule, resolved.options));
  return std::make_shared<const SamplerPlan>(std::move(plan));
}

}  // namespace denoise
