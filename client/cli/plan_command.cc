#include "client/cli/plan_command.h"

#include <CLI/Option.hpp>
#include <CLI/Validators.hpp>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/error_report.h"
#include "client/cli/sampler_flags.h"
#include "core/base/field_violations.h"
#include "core/base/read_file.h"
#include "core/base/status_macros.h"
#include "core/sampling/compile_plan.h"
#include "core/sampling/sampler_overrides.h"
#include "core/sampling/scheduler_config.h"

namespace denoise {
namespace {

constexpr char kExamples[] = R"(Examples:
  denoise plan --sampler dpmpp_2m --steps 10
  denoise plan --sampler ddim --timesteps 999,500,0 --eta 0.5
  denoise plan --scheduler-config scheduler/scheduler_config.json --json

)";

struct PlanFlags {
  std::string scheduler_config;  // a file; empty: DDPM's linear schedule
  SamplerOverrides sampler;
  bool json = false;
};

absl::StatusOr<std::string> ReadConfigFile(const std::string& path) {
  constexpr size_t kMaxBytes = 16 << 20;  // more than the parser takes
  absl::StatusOr<std::string> text = ReadFile(path, kMaxBytes);
  if (!text.ok()) return InvalidField("scheduler_config", std::string(text.status().message()));
  return text;
}

// The file's schedule and sampler, or the defaults of the sampler that was named.
absl::StatusOr<SchedulerConfig> BaseConfig(const PlanFlags& flags) {
  if (flags.scheduler_config.empty()) {
    const SamplerKind sampler = flags.sampler.sampler.value_or(SamplerOptions().sampler);
    return SchedulerConfig{.schedule = {}, .sampler = ClassDefaults(sampler)};
  }
  ASSIGN_OR_RETURN(const std::string text, ReadConfigFile(flags.scheduler_config));
  absl::StatusOr<SchedulerConfig> config = ParseSchedulerConfig(text);
  if (config.ok()) return config;
  FieldViolations violations;
  violations.AddAll("scheduler_config.", config.status());
  return violations.ToStatus();
}

struct CompiledPlan {
  SamplerOptions options;
  SamplerPlan plan;
};

// Violations are named as in a request: "sampler.steps".
absl::StatusOr<CompiledPlan> Compile(const PlanFlags& flags) {
  ASSIGN_OR_RETURN(const SchedulerConfig config, BaseConfig(flags));
  ASSIGN_OR_RETURN(const Schedule schedule, Schedule::Create(config.schedule));
  const SamplerKind sampler = flags.sampler.sampler.value_or(config.sampler.sampler);
  ResolvedSampler resolved =
      ApplyOverrides(SwitchSampler(config, sampler), flags.sampler, schedule.num_train_timesteps());
  FieldViolations violations;
  violations.AddAll("sampler.", resolved.violations);
  absl::StatusOr<SamplerPlan> plan = CompilePlan(schedule, resolved.options);
  violations.AddAll("sampler.", plan.status());
  RETURN_IF_ERROR(violations.ToStatus());
  return CompiledPlan{std::move(resolved.options), *std::move(plan)};
}

// Signal as full blocks, noise as light ones, by their share of the variance.
std::string LevelBar(double alpha, double sigma) {
  constexpr int kCells = 24;
  const double signal = alpha * alpha / (alpha * alpha + sigma * sigma);
  const int full = static_cast<int>(std::lround(signal * kCells));
  std::string bar;
  for (int cell = 0; cell < kCells; ++cell) bar += cell < full ? "█" : "░";
  return bar;
}

std::string NoiseText(const NoiseScale& noise) {
  const double* scale = std::get_if<double>(&noise);
  if (scale == nullptr) return "learned";
  return *scale == 0 ? "-" : absl::StrFormat("%.4g", *scale);
}

std::string TableRow(const std::string& number, const std::string& timestep, double alpha,
                     double sigma, const std::string& noise) {
  return absl::StrFormat("%5s  %9s  %8.5f  %8.5f  %8.3f  %9s  %s\n", number, timestep, alpha, sigma,
                         2 * std::log(alpha / sigma), noise, LevelBar(alpha, sigma));
}

std::string Heading(const SamplerOptions& options, const SamplerPlan& plan) {
  std::string heading(SamplerName(options.sampler));
  if (SamplerReads(options.sampler, "solver_order")) {
    absl::StrAppend(&heading, " of order ", options.solver_order);
  }
  const size_t evaluations = plan.evaluations.size();
  absl::StrAppendFormat(&heading, ": %d %s, %d network %s, %d %s", plan.NumSteps(),
                        plan.NumSteps() == 1 ? "step" : "steps", evaluations,
                        evaluations == 1 ? "evaluation" : "evaluations", plan.slots,
                        plan.slots == 1 ? "slot" : "slots");
  return heading + "\n\n";
}

// One line per evaluation, and a last one for where they lead.
std::string PlanTable(const SamplerOptions& options, const SamplerPlan& plan) {
  std::string table = Heading(options, plan);
  absl::StrAppendFormat(&table, "%5s  %9s  %8s  %8s  %8s  %9s  %s\n", "eval", "timestep", "alpha",
                        "sigma", "log-SNR", "noise", "█ signal ░ noise");
  for (size_t i = 0; i < plan.evaluations.size(); ++i) {
    const Evaluation& evaluation = plan.evaluations[i];
    table += TableRow(absl::StrCat(i + 1), absl::StrFormat("%.6g", evaluation.timestep),
                      evaluation.alpha, evaluation.sigma, NoiseText(evaluation.noise));
  }
  return table + TableRow("end", "", plan.final_alpha, plan.final_sigma, "");
}

ExitCode RunPlan(const PlanFlags& flags) {
  const absl::StatusOr<CompiledPlan> compiled = Compile(flags);
  if (!compiled.ok()) return ReportError(compiled.status(), flags.json);
  const std::string text =
      flags.json ? PlanToJson(compiled->plan) : PlanTable(compiled->options, compiled->plan);
  std::fputs(text.c_str(), stdout);
  return kExitOk;
}

}  // namespace

std::function<ExitCode()> AddPlanCommand(CLI::App& app) {
  const auto flags = std::make_shared<PlanFlags>();
  app.add_option(
         "--scheduler-config", flags->scheduler_config,
         "A scheduler_config.json in the diffusers layout: the noise schedule, and the sampler\n"
         "unless --sampler names another. Default: 1000 timesteps, linear")
      ->type_name("FILE")
      ->check(CLI::ExistingFile);
  app.add_flag("--json", flags->json, "Print the coefficients as JSON; docs/plan.md explains them");
  AddSamplerFlags(app, flags->sampler);
  AddCheckpointFlags(app, flags->sampler);
  app.footer(std::string(kExamples) + kExitCodesHelp);
  return [flags] { return RunPlan(*flags); };
}

}  // namespace denoise
