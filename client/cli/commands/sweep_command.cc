#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Option.hpp>
#include <CLI/Validators.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/interrupts.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/commands/sweep_grid.h"
#include "client/cli/commands/sweep_runner.h"
#include "client/cli/display/text.h"
#include "client/cli/flags/generate_flags.h"
#include "client/cli/flags/model_lookup.h"
#include "client/drawing/drawing.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/command_line/flag_values.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr char kExamples[] =
    R"(  denoise sweep -c animals --rows guidance=1,2,4 --columns steps=4,8,16
  denoise sweep -c food --rows sampler=ddim,euler --columns steps=5,10,20 \
      --out samplers.png
  denoise sweep -c symbols --columns seed=1,2,3,4,5,6,7,8 --steps 12
  denoise sweep --rows class=animals,food --columns eta=0,0.5,1 --sampler ddim

Rows and columns may vary --class-label, --seed, and every flag of the sampler
or of guidance. All images use seed 0 unless --seed or the grid says otherwise.
)";

constexpr int kMostParallel = 64;

struct SweepFlags {
  GenerateFlags base;
  std::string rows, columns;
  int parallel = 16;
  std::string out = "sweep.png";
  bool overwrite = false;
};

struct Sweep {
  SweepAxis rows, columns;
  std::string title;
  std::vector<SweepCell> cells;
};

// "emoji-32, class animals, seed 1": what all images have in common.
std::string Title(const SweepFlags& flags, const Sweep& sweep, const v1::Model& model) {
  std::string title = ShortModelName(model.name());
  const auto is_axis = [&](const char* flag) {
    return sweep.rows.flag == flag || sweep.columns.flag == flag;
  };
  const auto label = flags.base.given.find("class_label");
  if (label != flags.base.given.end() && !is_axis("class-label")) {
    absl::StrAppend(&title, ", class ", label->second.front());
  }
  if (!is_axis("seed")) absl::StrAppend(&title, ", seed ", sweep.cells[0].request.seed());
  return Printable(title);
}

// A flag that differs between images cannot also be given for all of them.
absl::Status CheckNotGiven(const std::string& side, const SweepAxis& axis,
                           const GenerateFlags& base) {
  for (const auto& [field, texts] : base.given) {
    const std::string flag = FlagOf(SweepTable(), field);
    const bool both_choose_classes = axis.flag == "class-label" && field == "class_weights";
    if (flag != absl::StrCat("--", axis.flag) && !both_choose_classes) continue;
    return InvalidField(
        side, absl::StrCat("varies --", axis.flag, ", which cannot be combined with ", flag));
  }
  return absl::OkStatus();
}

absl::StatusOr<Sweep> Prepare(const SweepFlags& flags, Client& client) {
  Sweep sweep;
  if (flags.rows.empty() && flags.columns.empty()) {
    return InvalidField("--rows", "is required unless --columns is given; such as steps=4,8,16");
  }
  ASSIGN_OR_RETURN(sweep.rows, ParseSweepAxis("--rows", flags.rows));
  ASSIGN_OR_RETURN(sweep.columns, ParseSweepAxis("--columns", flags.columns));
  RETURN_IF_ERROR(CheckNotGiven("--rows", sweep.rows, flags.base));
  RETURN_IF_ERROR(CheckNotGiven("--columns", sweep.columns, flags.base));
  ASSIGN_OR_RETURN(const v1::Model model, ResolveModel(client, flags.base.request.model()));
  ASSIGN_OR_RETURN(sweep.cells, SweepCells(flags.base, sweep.rows, sweep.columns, model));
  sweep.title = Title(flags, sweep, model);
  return sweep;
}

std::vector<std::string> Labels(const SweepAxis& axis) {
  std::vector<std::string> labels;
  for (size_t i = 0; i < axis.values.size(); ++i) labels.push_back(axis.Label(i));
  return labels;
}

absl::Status WriteSheet(const SweepFlags& flags, const Sweep& sweep, std::vector<Image> pictures) {
  ASSIGN_OR_RETURN(const std::string png,
                   DrawLabelledSheet({sweep.title, Labels(sweep.rows), Labels(sweep.columns),
                                      std::move(pictures)}));
  return WriteWholeFile(flags.out, png).status();
}

// Redrawn in place, and only on a terminal.
void ShowProgress(size_t done, size_t total) {
  if (!isatty(STDERR_FILENO)) return;
  std::fprintf(stderr, "\r%zu of %zu pictures%s", done, total, done == total ? "\n" : "");
  std::fflush(stderr);
}

// Names the picture that failed, if it was one, and the command that generates it alone.
ExitCode ReportFailure(const absl::Status& status, const SweepCell* cell) {
  if (cell == nullptr) return ReportError(status, /*json=*/false, SweepTable());
  std::fprintf(stderr, "denoise: the picture of %s failed\n", cell->label.c_str());
  const ExitCode code = ReportError(status, /*json=*/false, SweepTable());
  v1::GenerateRequest request = cell->request;
  request.set_model(ShortModelName(request.model()));
  std::fprintf(
      stderr, "  To try it alone: %s\n",
      CommandLine("denoise generate", ArgumentsOf(GenerateTable(), request, cell->given)).c_str());
  return code;
}

ExitCode RunCells(const SweepFlags& flags, Sweep sweep, Client& client, Interrupts& interrupts) {
  const size_t total = sweep.cells.size();
  SweepRunner runner(client, std::move(sweep.cells),
                     [total](size_t done) { ShowProgress(done, total); });
  interrupts.SetHandler([&runner] { runner.Cancel(); });
  absl::StatusOr<std::vector<Image>> pictures = runner.Run(flags.parallel);
  interrupts.SetHandler(nullptr);
  if (!pictures.ok()) {
    const ExitCode code = ReportFailure(pictures.status(), runner.failed_cell());
    return interrupts.interrupted() ? kExitInterrupted : code;
  }
  const absl::Status written = WriteSheet(flags, sweep, *std::move(pictures));
  if (!written.ok()) return ReportError(written, /*json=*/false);
  std::printf("%zu pictures of %s in %s\n", total, sweep.title.c_str(), flags.out.c_str());
  return kExitOk;
}

ExitCode RunSweep(const SweepFlags& flags) {
  Interrupts interrupts;
  const absl::Status free = CheckNewFile("--out", flags.out, flags.overwrite);
  if (!free.ok()) return ReportError(free, /*json=*/false);
  absl::StatusOr<Client> client = MakeClient(flags.base.connection);
  if (!client.ok()) return ReportError(client.status(), /*json=*/false);
  absl::StatusOr<Sweep> sweep = Prepare(flags, *client);
  if (!sweep.ok()) return ReportError(sweep.status(), /*json=*/false, SweepTable());
  return RunCells(flags, *std::move(sweep), *client, interrupts);
}

std::string CheckPng(const std::string& path) {
  return absl::EndsWithIgnoreCase(path, ".png") ? "" : "must end with .png; is " + path;
}

void AddGridFlags(CLI::App& app, SweepFlags& flags) {
  app.add_option("--rows", flags.rows, "The flag that differs between rows, with its values")
      ->type_name("FLAG=V,V,...");
  app.add_option("--columns", flags.columns,
                 "The flag that differs between columns, with its values. Give one or both")
      ->type_name("FLAG=V,V,...");
  AddWholeNumber(app, "--parallel", flags.parallel, 1, kMostParallel,
                 "How many images to request at a time")
      ->default_str(absl::StrCat(flags.parallel));
  app.add_option("-o,--out", flags.out, "The .png file to write")
      ->type_name("FILE")
      ->check(CLI::Validator(CheckPng, ""))
      ->capture_default_str();
  AddOverwriteFlag(app, flags.overwrite);
}

}  // namespace

Command AddSweepCommand(CLI::App& app) {
  const auto flags = std::make_shared<SweepFlags>();
  AddGridFlags(app, *flags);
  AddSweepFlags(app, flags->base);
  SetExamples(app, kExamples);
  return [flags] { return RunSweep(*flags); };
}

}  // namespace denoise
