#include <CLI/App.hpp>
#include <CLI/Option.hpp>
#include <CLI/Validators.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/commands/plan_source.h"
#include "client/cli/display/plan_text.h"
#include "client/cli/flags/generate_flags.h"
#include "client/cli/flags/sampler_flags.h"
#include "client/drawing/drawing.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr char kExamples[] = R"(  denoise plan --sampler dpmpp_2m --steps 10
  denoise plan --sampler ddim --timesteps 999,500,0 --eta 0.5
  denoise plan --scheduler-config scheduler/scheduler_config.json --json
  denoise plan --model emoji-32 --sampler ddim,euler --steps 10
  denoise plan --sampler ddim,dpmpp_2m,heun --steps 10 --draw plan.png
)";

struct PlanFlags {
  PlanSource source;
  std::string draw;  // a file, .png or .svg; empty: no picture
  bool overwrite = false;
  bool json = false;
};

bool IsSvg(const std::string& path) { return absl::EndsWithIgnoreCase(path, ".svg"); }

// For CLI11: what is wrong with the path, or nothing.
std::string CheckSuffix(const std::string& path) {
  if (IsSvg(path) || absl::EndsWithIgnoreCase(path, ".png")) return "";
  return "must end with .png or .svg; is " + path;
}

std::string CheckExists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored) ? "" : "there is no file " + path;
}

absl::Status DrawTo(const std::string& path, const std::vector<ShownPlan>& plans) {
  std::vector<NamedPlan> named;
  for (const ShownPlan& shown : plans) named.push_back({PlanHeadline(shown), shown.plan});
  ASSIGN_OR_RETURN(const std::string picture,
                   DrawPlans(named, IsSvg(path) ? FileKind::kSvg : FileKind::kPng));
  return WriteWholeFile(path, picture).status();
}

void PrintTables(const std::vector<ShownPlan>& plans) {
  for (const ShownPlan& shown : plans) {
    std::printf("%s%s", &shown == &plans.front() ? "" : "\n", PlanTable(shown).c_str());
  }
}

ExitCode RunPlan(const PlanFlags& flags) {
  if (!flags.draw.empty()) {
    const absl::Status free = CheckNewFile("--draw", flags.draw, flags.overwrite);
    if (!free.ok()) return ReportError(free, flags.json);
  }
  const absl::StatusOr<std::vector<ShownPlan>> plans = GetPlans(flags.source);
  if (!plans.ok()) return ReportError(plans.status(), flags.json, PlanErrorTable());
  if (const std::string note = IgnoredKeysNote(flags.source); !note.empty()) {
    std::fprintf(stderr, "denoise: note: %s\n", note.c_str());
  }
  if (!flags.draw.empty()) {
    const absl::Status drawn = DrawTo(flags.draw, *plans);
    if (!drawn.ok()) return ReportError(drawn, flags.json);
  }
  if (flags.json) {
    for (const ShownPlan& shown : *plans) std::fputs(PlanToJson(shown.plan).c_str(), stdout);
  } else {
    PrintTables(*plans);
  }
  return kExitOk;
}

void AddSourceFlags(CLI::App& app, PlanSource& source) {
  AddSamplerList(app, source.samplers);
  AddMessageFlags(app, source.request, PlanTable());
  CLI::Option* const model = app.get_option("--model");
  app.add_option("--scheduler-config", source.scheduler_config,
                 "A scheduler_config.json in the diffusers layout, for the noise schedule and, "
                 "unless --sampler names another, the sampler. Default: 1000 timesteps, linear")
      ->type_name("FILE")
      ->check(CLI::Validator(CheckExists, ""))
      ->excludes(model);
  AddCheckpointFlags(app, source.checkpoint);
  for (CLI::Option* option : app.get_options()) {
    if (option->get_group() == kCheckpointGroup) option->excludes(model);
  }
  AddConnectionFlags(app, source.connection);
  // Without a model no server is asked.
  for (const char* flag : {"--server", "--deadline", "--tls", "--tls-ca", "--tls-cert", "--tls-key",
                           "--token-file", "--token-over-plaintext"}) {
    app.get_option(flag)->needs(model);
  }
}

}  // namespace

Command AddPlanCommand(CLI::App& app) {
  const auto flags = std::make_shared<PlanFlags>();
  AddSourceFlags(app, flags->source);
  app.add_flag("--json", flags->json,
               "Print the coefficients of each plan as JSON; docs/plan.md explains them");
  app.add_option("--draw", flags->draw,
                 "Also draw signal, noise and log-SNR over the steps to this .png or .svg file")
      ->type_name("FILE")
      ->check(CLI::Validator(CheckSuffix, ""));
  AddOverwriteFlag(app, flags->overwrite, "--draw")->needs(app.get_option("--draw"));
  SetExamples(app, kExamples);
  return [flags] { return RunPlan(*flags); };
}

}  // namespace denoise
