#include "client/cli/commands/commands.h"

namespace denoise {

namespace {

Command AddNoFlags(CLI::App&) {
  return [] { return kExitUsage; };
}

}  // namespace

Command AddAllCommands(CLI::App& app) {
  CommandSet commands(app);
  commands.Add("generate", "Generate images and watch them emerge from noise", AddGenerateCommand);
  commands.Add("watch", "Follow a generation that was started elsewhere, and get its images",
               AddWatchCommand);
  commands.Add("generations", "List, describe, pause and cancel generations",
               AddGenerationsCommand);
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
  commands.Add("models", "List, watch, load, unload and delete models", AddModelsCommand);
  commands.Add("adapters", "List the adapters (LoRA) that images can be made with",
               AddAdaptersCommand);
  commands.Add("bench", "Send a stated load to a server, and measure how it copes",
               AddBenchCommand);
  commands.Add("health", "Check whether the server is ready", AddHealthCommand);
  commands.Add("plan", "Print what a sampler does at every step, with or without a server",
               AddPlanCommand);
  commands.Add("tokenize", "Show the tokens that a text becomes, without a server",
               AddTokenizeCommand);
  // denoised carries these out, before anything is parsed (server_program.h).
  commands.Add("check", "Tell whether checkpoints would load, without a server",
               "  denoise check models\n", AddNoFlags);
  commands.Add("convert", "Convert a single-file checkpoint to a folder, without a server",
               "  denoise convert sd15.safetensors models/sd15 --configs stable-diffusion-v1-5\n",
               AddNoFlags);
  commands.Add("new-model", "Write a model of a published shape with random weights",
               "  denoise new-model models/sd15-random --like sd15\n", AddNoFlags);
  return commands.Chosen();
}

}  // namespace denoise
