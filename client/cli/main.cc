// `denoise`: the command line of denoised.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/cli/commands/commands.h"
#include "client/cli/commands/server_program.h"
#include "client/cli/display/terminal.h"
#include "client/cli/flags/help_formatter.h"
#include "core/command_line/standard_output.h"
#include "core/command_line/usage_error.h"

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
  denoise tokenize --tokenizer sd15/tokenizer "a photo of a cat"
  denoise check models
  denoise convert sd15.safetensors models/sd15 --configs stable-diffusion-v1-5
  denoise new-model models/sd15-random --like sd15
  denoise datasets upload pictures/
  denoise train create -d pictures --height 32 --width 32 -n 20000 --watch
  denoise evaluate --model pictures --dataset pictures
  denoise bench --models models --load 0.8
  denoise health

`denoise COMMAND --help` explains a command. The server is --server, otherwise
$DENOISED_SERVER, otherwise 127.0.0.1:50051.

)";

// gRPC's own log lines would appear among ours. To debug a connection, set GRPC_VERBOSITY.
void QuietGrpc() { setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0); }

int HelpColumns() {
  return isatty(STDOUT_FILENO) ? GetTerminalSize(STDOUT_FILENO).columns : TerminalSize().columns;
}

ExitCode Main(int argc, char** argv) {
  CLI::App app("Generates images with a denoised server.", "denoise");
  app.formatter(std::make_shared<HelpFormatter>(HelpColumns()));
  app.set_help_flag("-h,--help", "Print this help");
  app.set_version_flag("--version", "denoise " DENOISE_VERSION, "Print the version");
  app.footer(std::string(kExamples) + kExitCodesHelp);

  const Command run = AddAllCommands(app);

  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool json = AsksForJson(arguments);
  if (IsServerProgramCommand(arguments)) return BecomeServerProgram(arguments, json);
  std::optional<UsageError> error = CheckCommandLine(app, arguments);
  try {
    if (!error) app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    app.exit(help);
    return kExitOk;
  } catch (const CLI::ParseError& parse_error) {
    error = ToUsageError(app, parse_error);
  }
  if (!error) return run();
  return ReportUsageError(*error, CommandName(CommandOf(app, arguments)), json);
}

// A file that is opened while descriptor 1 is closed would become standard output.
void OpenStandardStreams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(stream, F_GETFD) < 0) open("/dev/null", O_RDWR);
  }
}

ExitCode MainThenFlush(int argc, char** argv) {
  const ExitCode code = Main(argc, argv);
  const absl::Status flushed = FlushStandardOutput();
  if (code != kExitOk || flushed.ok()) return code;
  return ReportError(flushed, AsksForJson(std::vector<std::string>(argv + 1, argv + argc)));
}

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) {
  denoise::OpenStandardStreams();
  denoise::QuietGrpc();
  try {
    return denoise::MainThenFlush(argc, argv);
  } catch (const std::exception& error) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    return denoise::ReportError(absl::InternalError(error.what()), denoise::AsksForJson(arguments));
  }
}
