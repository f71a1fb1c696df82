#include "client/cli/commands/server_program.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr char kProgram[] = "denoised";

}  // namespace

bool IsServerProgramCommand(std::span<const std::string> arguments) {
  constexpr std::string_view kCommands[] = {"check", "convert", "new-model"};
  return !arguments.empty() && std::find(std::begin(kCommands), std::end(kCommands),
                                         arguments.front()) != std::end(kCommands);
}

std::string ServerProgram() {
  std::error_code error;
  const fs::path beside = fs::read_symlink("/proc/self/exe", error).parent_path() / kProgram;
  return !error && access(beside.c_str(), X_OK) == 0 ? beside.string() : kProgram;
}

ExitCode BecomeServerProgram(std::span<const std::string> arguments, bool json) {
  std::string program = ServerProgram();
  std::vector<std::string> words(arguments.begin(), arguments.end());
  std::vector<char*> argv = {program.data()};
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execvp(program.c_str(), argv.data());
  return ReportError(
      absl::FailedPreconditionError(absl::StrCat(
          "denoise ", arguments.front(), " needs the program denoised, which is neither beside ",
          "denoise nor in $PATH; install it, or run the command where the server is")),
      json);
}

}  // namespace denoise
