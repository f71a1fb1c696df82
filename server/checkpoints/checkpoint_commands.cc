#include "server/checkpoints/checkpoint_commands.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/command_line/usage_error.h"
#include "core/pipeline/pipeline_writer.h"
#include "server/checkpoints/check_checkpoint.h"
#include "server/checkpoints/checkpoint_command.h"
#include "server/checkpoints/new_model_command.h"
#include "server/checkpoints/report_text.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr char kCheckHelp[] = R"(Examples:
  denoise check models/sd15
  denoise check models
  denoise check ~/.cache/huggingface/hub
  denoise check v1-5-pruned-emaonly.safetensors --configs models/sd15
  denoise check --json models | jq '.checkpoints[] | select(.loads | not)'

Loads each model on the CPU, which takes the memory that a server takes for it.

Exit codes: 0 every checkpoint would load, 1 one would not, 2 wrong usage.)";

constexpr char kConvertHelp[] = R"(Examples:
  denoise convert v1-5-pruned-emaonly.safetensors models/sd15 --configs stable-diffusion-v1-5
  denoise convert sd_xl_base_1.0.safetensors models/sdxl --configs stable-diffusion-xl-base-1.0

A single file holds neither the tokenizers nor all that its model's configurations say: --configs
names a folder that does, such as a download of the published model without its weights. The
weights keep the data types that they have in the file.

Exit codes: 0 ok, 1 failed, 2 wrong usage.)";

struct CheckFlags {
  std::string path;
  std::string configs;
  bool json = false;
};

struct ConvertFlags {
  std::string file;
  std::string folder;
  std::string configs;
};

// For CLI11, as CheckFolder.
std::string CheckExists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error) ? "" : "there is no file or folder " + Quoted(path);
}

std::string CheckFile(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    return Quoted(path) + " is a folder; a single file is converted";
  }
  return fs::exists(path, error) ? "" : "there is no file " + Quoted(path);
}

int RunCheck(const CheckFlags& flags, std::ostream& out) {
  const std::vector<CheckpointReport> reports = CheckCheckpoints(
      flags.path, flags.configs.empty() ? std::nullopt : std::optional<fs::path>(flags.configs));
  if (flags.json) {
    out << ReportsJson(reports) << "\n";
  } else {
    for (size_t i = 0; i < reports.size(); ++i)
      out << (i > 0 ? "\n" : "") << ReportText(reports[i]);
  }
  const bool all = std::all_of(reports.begin(), reports.end(),
                               [](const CheckpointReport& report) { return report.status.ok(); });
  return all ? kOk : kFailed;
}

absl::Status Convert(const ConvertFlags& flags) {
  RETURN_IF_ERROR(CheckAbsent(flags.folder));
  ASSIGN_OR_RETURN(const ParsedPipeline model,
                   ParsedPipeline::OpenSingleFile(flags.file, flags.configs));
  // A folder that would not load is not written.
  RETURN_IF_ERROR(model.Load({}).status());
  return WritePipeline(flags.folder, model);
}

int RunConvert(const ConvertFlags& flags, std::ostream& out, std::ostream& err) {
  const absl::Status status = Convert(flags);
  if (!status.ok()) {
    err << "denoise convert: " << std::string(status.message()) << "\n";
    return kFailed;
  }
  out << "wrote " << flags.folder << "\n";
  return kOk;
}

CheckpointCommand AddCheck(CLI::App& app) {
  const auto flags = std::make_shared<CheckFlags>();
  app.description("Tells whether checkpoints would load, and why not, without a server.");
  app.footer(kCheckHelp);
  app.add_option("path", flags->path,
                 "A model's folder, a folder of such folders, a Hugging\n"
                 "Face cache or a model in it, or a single file in the\n"
                 "original layout")
      ->type_name("PATH")
      ->required()
      ->check(CLI::Validator(CheckExists, ""));
  app.add_option("--configs", flags->configs,
                 "For a single file: the folder with the configurations\n"
                 "and tokenizers of its model. Default: check the names\n"
                 "of its tensors alone")
      ->type_name("DIR")
      ->check(CLI::Validator(CheckFolder, ""));
  app.add_flag("--json", flags->json, "Print one line of JSON and nothing else");
  app.final_callback([flags] {
    std::error_code error;
    if (!flags->configs.empty() && fs::is_directory(flags->path, error)) {
      throw CLI::ValidationError("--configs", "is for a single file; " + Quoted(flags->path) +
                                                  " is a folder, which has its own");
    }
  });
  return [flags](std::ostream& out, std::ostream&) { return RunCheck(*flags, out); };
}

CheckpointCommand AddConvert(CLI::App& app) {
  const auto flags = std::make_shared<ConvertFlags>();
  app.description("Converts a single-file checkpoint to a folder that a server loads.");
  app.footer(kConvertHelp);
  app.add_option("file", flags->file, "The single file, in safetensors")
      ->type_name("FILE")
      ->required()
      ->check(CLI::Validator(CheckFile, ""));
  app.add_option("folder", flags->folder, "The folder to write, which must not exist")
      ->type_name("DIR")
      ->required()
      ->check(CLI::Validator(CheckModelFolder, ""));
  app.add_option("--configs", flags->configs,
                 "A folder in the diffusers layout with the\n"
                 "configurations and tokenizers of the model; weights in\n"
                 "it are not read")
      ->type_name("DIR")
      ->required()
      ->check(CLI::Validator(CheckFolder, ""));
  return [flags](std::ostream& out, std::ostream& err) { return RunConvert(*flags, out, err); };
}

constexpr struct {
  std::string_view name;
  CheckpointCommand (*add)(CLI::App& app);
} kCommands[] = {{"check", AddCheck}, {"convert", AddConvert}, {"new-model", AddNewModel}};

}  // namespace

std::optional<int> RunCheckpointCommand(int argc, const char* const* argv, std::ostream& out,
                                        std::ostream& err) {
  const std::string name = argc > 1 ? argv[1] : "";
  const auto* const found = std::find_if(std::begin(kCommands), std::end(kCommands),
                                         [&](const auto& each) { return each.name == name; });
  if (found == std::end(kCommands)) return std::nullopt;
  CLI::App app("", "denoise " + name);
  const CheckpointCommand run = found->add(app);
  const std::vector<std::string> arguments(argv + 2, argv + argc);
  if (const auto good = ParseOrExplain(app, arguments, out, err)) return *good ? kOk : kUsageError;
  return run(out, err);
}

}  // namespace denoise
