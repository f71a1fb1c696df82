// `denoise`: the command line of denoised.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "client/cli/commands/command_set.h"
#include "client/cli/commands/datasets_command.h"
#include "client/cli/commands/diffuse_command.h"
#include "client/cli/commands/evaluate_command.h"
#include "client/cli/commands/generate_command.h"
#include "client/cli/commands/health_command.h"
#include "client/cli/commands/models_command.h"
#include "client/cli/commands/plan_command.h"
#include "client/cli/commands/roundtrip_command.h"
#include "client/cli/commands/sweep_command.h"
#include "client/cli/commands/train_command.h"
#include "client/cli/exit_code.h"

namespace denoise {
namespace {

constexpr char kExamples[] = R"(Examples:
  denoise models
  denoise generate --class-label animals --count 8 --frames 1
  denoise sweep --class-label animals --rows guidance=1,2,4 --columns steps=4,8,16
  denoise diffuse photo.png
  denoise roundtrip photo.png --class-label animals --strength 0.6
  denoise plan --sampler dpmpp_2m --steps 10
  denoise datasets upload pictures/
  denoise train create --dataset pictures --height 32 --width 32 --max-steps 20000 --watch
  denoise evaluate --model pictures --dataset pictures
  denoise health

`denoise COMMAND --help` explains a command. The server is $DENOISED_SERVER, else 127.0.0.1:50051.

)";

// gRPC's own log lines would end up among ours; whoever debugs a connection sets GRPC_VERBOSITY.
void QuietGrpc() { setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0); }

ExitCode Main(int argc, char** argv) {
  CLI::App app("Generates images with a denoised server.", "denoise");
  app.set_version_flag("--version", "denoise " DENOISE_VERSION);
  app.footer(std::string(kExamples) + kExitCodesHelp);

  CommandSet commands(app);
  commands.Add("generate", "Generate images and watch them appear out of noise",
               AddGenerateCommand);
  commands.Add("sweep", "Generate a labelled grid of pictures over two flags", AddSweepCommand);
  commands.Add("diffuse", "Turn pictures into noise, level by level, as training does",
               AddDiffuseCommand);
  commands.Add("roundtrip", "Watch a picture become noise and come back as another",
               AddRoundTripCommand);
  commands.Add("datasets", "Upload pictures to train on, and see what is in them",
               AddDatasetsCommand);
  commands.Add("train", "Train models on the server, watch them learn, and publish them",
               AddTrainCommand);
  commands.Add("evaluate", "Measure how good and how varied a model's pictures are",
               AddEvaluateCommand);
  commands.Add("models", "List the models that are served, or tell everything about one",
               AddModelsCommand);
  commands.Add("health", "Ask whether the server is ready", AddHealthCommand);
  commands.Add("plan", "Print what a sampler will do, step by step, here or on a server's model",
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
