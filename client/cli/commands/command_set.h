// Commands, and commands of commands.
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/exit_code.h"

namespace denoise {

using Command = std::function<ExitCode()>;

// The commands below `app`, one of which the caller must choose.
class CommandSet {
 public:
  explicit CommandSet(CLI::App& app) : app_(app) { app.require_subcommand(1); }

  // `declare` adds the command's flags to the app it is given and returns what it does.
  template <class Declare>
  void Add(const char* name, const char* what, Declare declare) {
    CLI::App* const command = app_.add_subcommand(name, what);
    commands_->emplace_back(command, declare(*command));
  }

  // Runs the command that was chosen, once `app` has parsed.
  Command Chosen() const {
    return [commands = commands_] {
      for (const auto& [command, run] : *commands) {
        if (command->parsed()) return run();
      }
      return kExitUsage;
    };
  }

 private:
  CLI::App& app_;
  std::shared_ptr<std::vector<std::pair<CLI::App*, Command>>> commands_ =
      std::make_shared<std::vector<std::pair<CLI::App*, Command>>>();
};

}  // namespace denoise
