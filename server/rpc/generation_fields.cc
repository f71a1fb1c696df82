#include "server/rpc/generation_fields.h"

#include <string>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/time/time.h"
#include "core/base/field_violations.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/options/sampler_overrides.h"
#include "proto/conversion/sampler_proto.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

// "dpmpp_2m", as flags and messages have it.
std::string SamplerOf(const v1::Accepted& accepted) {
  FieldViolations violations;  // there are none: the server has filled it in
  const SamplerOverrides options = SamplerFromProto(accepted.sampler(), violations);
  if (!options.sampler) return "";
  return std::string(FullSamplerName({*options.sampler, options.solver_order}));
}

std::string PriorityOf(const v1::Accepted& accepted) {
  constexpr std::string_view kPrefix = "PRIORITY_";
  const std::string name = v1::Priority_Name(accepted.priority());
  return absl::AsciiStrToLower(name.substr(name.starts_with(kPrefix) ? kPrefix.size() : 0));
}

nlohmann::ordered_json AdaptersOf(const v1::Accepted& accepted) {
  nlohmann::ordered_json adapters = nlohmann::ordered_json::array();
  for (const v1::ResolvedAdapter& adapter : accepted.adapters()) {
    adapters.push_back({{"name", adapter.name()}, {"scale", adapter.scale()}});
  }
  return adapters;
}

}  // namespace

void AddSettings(const v1::Accepted& accepted, CallRecord& record) {
  record.Add({{"model", accepted.model()},
              {"model_version", accepted.model_version()},
              {"sampler", SamplerOf(accepted)},
              {"steps", accepted.steps()},
              {"evaluations_per_image", accepted.evaluations()},
              {"images", accepted.count()},
              {"width", accepted.width()},
              {"height", accepted.height()},
              {"seed", accepted.seed()},
              {"priority", PriorityOf(accepted)}});
  if (accepted.has_guidance()) record.Add({{"guidance_scale", accepted.guidance().scale()}});
  if (accepted.steps_requested() > 0) {
    record.Add({{"steps_requested", accepted.steps_requested()}});
  }
  if (accepted.has_prompt()) record.Add({{"prompt_tokens", accepted.prompt().tokens()}});
  if (!accepted.adapters().empty()) record.Add({{"adapters", AdaptersOf(accepted)}});
}

void AddProgress(const GenerationLog::Snapshot& snapshot, CallRecord& record) {
  if (snapshot.queue_wait) {
    record.Add({{"queue_wait_seconds", absl::ToDoubleSeconds(*snapshot.queue_wait)}});
  }
  record.Add({{"evaluations", snapshot.evaluations}, {"rows", snapshot.rows}});
}

}  // namespace denoise
