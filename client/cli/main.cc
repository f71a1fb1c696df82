// `denoise`: the command line of denoised.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/cli/commands/commands.h"
#include "client/cli/display/terminal.h"
#include "client/cli/flags/help_formatter.h"

namespace denoise {
namespace {

constexpr char kExamples[] = R"(Examples:
  denoise models
  denoise generate --class-label animals --count 8 --frames 1
  denoise generate -c animals -n 64 --request-id zoo --detach
  denoise watch zoo
  denoise sweep -c animals --rows guidance=1,2,4 --columns steps=4,8,16
  denoise diffuse photo.png
  denoise roundtrip photo.png --class-label animals --strength 0.6
  denoise plan --sampler dpmpp_2m --steps 10
  denoise datasets upload pictures/
  denoise train create -d pictures --height 32 --width 32 -n 20000 --watch
  denoise evaluate --model pictures --dataset pictures
  denoise health

`denoise COMMAND --help` explains a command. The server is --server, otherwise
$DENOISED_SERVER, otherwise 127.0.0.1:50051.

)";

// gRPC's own log lines would appear among ours. To debug a connection, set GRPC_VERBOSITY.
void QuietGrpc() { setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0); }

int HelpColumns() {
  return isatty(STDOUT_FILENO) ? GetTerminalSize(STDOUT_FILENO).columns : TerminalSize().columns;
}

// "denoise train create", as far as the command line was understood.
std::string CommandName(const CLI::App* app) {
  std::string name = app->get_name();
  for (auto chosen = app->get_subcommands(); !chosen.empty();) {
    absl::StrAppend(&name, " ", chosen.front()->get_name());
    chosen = chosen.front()->get_subcommands();
  }
  return name;
}

std::string UsageErrorText(const CLI::App* app, const CLI::Error& error) {
  std::string message = error.what();
  const char* help = " --help` explains every flag.\n";
  if (dynamic_cast<const CLI::ExcludesError*>(&error) != nullptr) {
    message = absl::StrReplaceAll(message, {{" excludes ", " cannot be combined with "}});
  } else if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    message = absl::StrReplaceAll(
        message, {{"The following argument was not expected", "unknown argument"},
                  {"The following arguments were not expected", "unknown arguments"}});
  } else if (message == "A subcommand is required") {
    message = "a command is missing";
    help = " --help` lists the commands.\n";
  }
  return absl::StrCat("denoise: ", message, "\n  `", CommandName(app), help);
}

ExitCode Main(int argc, char** argv) {
  CLI::App app("Generates images with a denoised server.", "denoise");
  app.formatter(std::make_shared<HelpFormatter>(HelpColumns()));
  app.failure_message(UsageErrorText);
  app.set_help_flag("-h,--help", "Print this help");
  app.set_version_flag("--version", "denoise " DENOISE_VERSION, "Print the version");
  app.footer(std::string(kExamples) + kExitCodesHelp);

  CommandSet commands(app);
  commands.Add("generate", "Generate images and watch them emerge from noise", AddGenerateCommand);
  commands.Add("watch", "Follow a generation that was started elsewhere, and get its images",
               AddWatchCommand);
  commands.Add("generations", "List, describe and cancel generations", AddGenerationsCommand);
  commands.Add("sweep", "Generate a labelled grid of images over two flags", AddSweepCommand);
  commands.Add("diffuse", "Add noise to pictures, level by level, as in training",
               AddDiffuseCommand);
  commands.Add("roundtrip", "Turn a picture into noise and the noise into another picture",
               AddRoundTripCommand);
  commands.Add("datasets", "Upload pictures for training and inspect them", AddDatasetsCommand);
  commands.Add("train", "Train models on the server, watch their progress, publish them",
               AddTrainCommand);
  commands.Add("evaluate", "Measure the quality and diversity of a model's images",
               AddEvaluateCommand);
  commands.Add("models", "List the models that are served, or describe one", AddModelsCommand);
  commands.Add("health", "Check whether the server is ready", AddHealthCommand);
  commands.Add("plan", "Print what a sampler does at every step, with or without a server",
               AddPlanCommand);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  return commands.Chosen()();
}

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) {
  denoise::QuietGrpc();
  try {
    return denoise::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "denoise: %s\n", error.what());
    return denoise::kExitFailed;
  }
}
