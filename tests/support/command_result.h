// What a command of `denoised` that ends by itself has done.
#pragma once

#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace denoise {

struct CommandResult {
  std::optional<int> code;  // nullopt: it is another command
  std::string out, err;
};

// Calls `command`(argc, argv, out, err) with `arguments` after the name of the program.
template <class Command>
CommandResult RunCommand(const Command& command, std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "denoised");
  std::ostringstream out, err;
  const std::optional<int> code =
      command(static_cast<int>(arguments.size()), arguments.data(), out, err);
  return {code, out.str(), err.str()};
}

}  // namespace denoise
