// `denoise`: the command line of denoised.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "client/cli/commands/commands.h"
#include "client/cli/display/terminal.h"
#include "client/cli/flags/help_formatter.h"
#include "client/cli/flags/usage_error.h"

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

// Whether errors are also to be printed as JSON, wherever the command line goes wrong.
bool WantsJson(std::span<const std::string> arguments) {
  return std::any_of(arguments.begin(), arguments.end(), [](const std::string& argument) {
    return argument == "--json" || argument == "--json=true";
  });
}

ExitCode Main(int argc, char** argv) {
  CLI::App app("Generates images with a denoised server.", "denoise");
  app.formatter(std::make_shared<HelpFormatter>(HelpColumns()));
  app.set_help_flag("-h,--help", "Print this help");
  app.set_version_flag("--version", "denoise " DENOISE_VERSION, "Print the version");
  app.footer(std::string(kExamples) + kExitCodesHelp);

  const Command run = AddAllCommands(app);

  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool json = WantsJson(arguments);
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

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) {
  denoise::QuietGrpc();
  try {
    return denoise::Main(argc, argv);
  } catch (const std::exception& error) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    return denoise::ReportError(absl::InternalError(error.what()), denoise::WantsJson(arguments));
  }
}
