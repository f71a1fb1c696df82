#include "client/cli/commands/plan_source.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/display/text.h"
#include "client/cli/flags/sampler_flags.h"
#include "client/client.h"
#include "core/base/field_violations.h"
#include "core/base/read_file.h"
#include "core/base/status_macros.h"
#include "core/sampling/options/option_table.h"
#include "core/sampling/options/scheduler_config.h"
#include "core/sampling/samplers/compile_plan.h"
#include "proto/conversion/plan_proto.h"
#include "proto/conversion/sampler_proto.h"

namespace denoise {
namespace {

// The options of a request and, as no request can set them, those of a checkpoint.
SamplerOverrides Options(const PlanSource& source) {
  FieldViolations none;  // flags set known values only
  SamplerOverrides options = SamplerFromProto(source.request.sampler(), none);
  ForEachOption([&](const auto& option) {
    if (option.source != OptionSource::kCheckpoint) return;
    options.*option.in_overrides = source.checkpoint.*option.in_overrides;
  });
  return options;
}

// The options of each sampler.
std::vector<SamplerOverrides> Requests(const PlanSource& source) {
  const SamplerOverrides options = Options(source);
  if (source.samplers.empty()) return {options};
  std::vector<SamplerOverrides> requests;
  for (const NamedSampler& named : source.samplers) {
    SamplerOverrides& request = requests.emplace_back(options);
    request.sampler = named.sampler;
    if (!request.solver_order.has_value()) request.solver_order = named.solver_order;
  }
  return requests;
}

std::string SamplerText(const SamplerOverrides& effective) {
  if (!effective.sampler.has_value()) return "a sampler unknown to this client";
  std::string text(SamplerName(*effective.sampler));
  if (effective.solver_order.has_value()) {
    absl::StrAppend(&text, " of order ", *effective.solver_order);
  }
  return text;
}

absl::StatusOr<std::string> ReadConfigFile(const std::string& path) {
  constexpr size_t kMaxBytes = 16 << 20;  // more than the parser takes
  absl::StatusOr<std::string> text = ReadFile(path, kMaxBytes);
  if (!text.ok()) return InvalidField("scheduler_config", std::string(text.status().message()));
  return text;
}

// The schedule and sampler of the file, or the defaults of `sampler` without one.
absl::StatusOr<SchedulerConfig> BaseConfig(const std::string& path, SamplerKind sampler) {
  if (path.empty()) return SchedulerConfig{.schedule = {}, .sampler = ClassDefaults(sampler)};
  ASSIGN_OR_RETURN(const std::string text, ReadConfigFile(path));
  absl::StatusOr<SchedulerConfig> config = ParseSchedulerConfig(text);
  if (config.ok()) return config;
  FieldViolations violations;
  violations.AddAll("scheduler_config.", config.status());
  return violations.ToStatus();
}

absl::StatusOr<ShownPlan> CompileHere(const std::string& scheduler_config,
                                      const SamplerOverrides& request) {
  ASSIGN_OR_RETURN(
      const SchedulerConfig config,
      BaseConfig(scheduler_config, request.sampler.value_or(SamplerOptions().sampler)));
  ASSIGN_OR_RETURN(const Schedule schedule, Schedule::Create(config.schedule));
  const SamplerKind sampler = request.sampler.value_or(config.sampler.sampler);
  const ResolvedSampler resolved =
      ApplyOverrides(SwitchSampler(config, sampler), request, schedule.num_train_timesteps());
  FieldViolations violations;
  violations.AddAll("sampler.", resolved.violations);
  absl::StatusOr<SamplerPlan> plan = CompilePlan(schedule, resolved.options);
  violations.AddAll("sampler.", plan.status());
  RETURN_IF_ERROR(violations.ToStatus());
  return ShownPlan{SamplerText(EffectiveOverrides(resolved.options)), "", *std::move(plan)};
}

absl::StatusOr<ShownPlan> AskServer(Client& client, const std::string& model,
                                    const SamplerOverrides& request) {
  ASSIGN_OR_RETURN(const denoised::v1::SamplerPlan message,
                   client.PlanSampler(model, SamplerToProto(request)));
  ASSIGN_OR_RETURN(SamplerPlan plan, ReceivePlan(message));
  FieldViolations unknown;
  return ShownPlan{SamplerText(SamplerFromProto(message.sampler(), unknown)),
                   absl::StrCat(Printable(ShortModelName(message.model())), ", version ",
                                Printable(message.model_version())),
                   std::move(plan)};
}

}  // namespace

absl::StatusOr<SamplerPlan> ReceivePlan(const denoised::v1::SamplerPlan& message) {
  absl::StatusOr<SamplerPlan> plan = PlanFromProto(message);
  if (plan.ok()) return plan;
  return absl::InternalError(
      absl::StrCat("the server sent what is no plan: ", plan.status().message()));
}

const FlagTable& PlanTable() {
  static const auto* const table = [] {
    FlagTable flags = Join({{{"-m,--model", "model",
                              "Ask the server for the plan on this model. Default: compile the "
                              "plan here, without a server"}},
                            SamplerFlags("sampler")});
    std::erase_if(flags, [](const MessageFlag& flag) { return flag.field == "sampler.sampler"; });
    return new FlagTable(std::move(flags));
  }();
  return *table;
}

const FlagTable& PlanErrorTable() {
  static const auto* const table = new FlagTable(
      Join({PlanTable(),
            {{"--sampler", "sampler.sampler", ""}, {"--scheduler-config", "scheduler_config", ""}},
            CheckpointFlags("sampler")}));
  return *table;
}

absl::StatusOr<std::vector<ShownPlan>> GetPlans(const PlanSource& source) {
  ASSIGN_OR_RETURN(Client client, MakeClient(source.connection));
  std::vector<ShownPlan> plans;
  for (const SamplerOverrides& request : Requests(source)) {
    ASSIGN_OR_RETURN(plans.emplace_back(),
                     source.request.model().empty()
                         ? CompileHere(source.scheduler_config, request)
                         : AskServer(client, source.request.model(), request));
  }
  return plans;
}

std::string IgnoredKeysNote(const PlanSource& source) {
  const absl::StatusOr<SchedulerConfig> config =
      BaseConfig(source.scheduler_config, SamplerOptions().sampler);
  if (!config.ok() || config->ignored_keys.empty()) return "";
  return absl::StrCat(config->class_name, " has no such keys, and ignores them: ",
                      absl::StrJoin(config->ignored_keys, ", "));
}

}  // namespace denoise
