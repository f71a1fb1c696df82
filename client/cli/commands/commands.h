// Every command of `denoise`, and how commands contain commands.
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/commands/error_report.h"

namespace denoise {

// Runs what was parsed. Outlives the app that parsed it.
using Command = std::function<ExitCode()>;

// Each declares its flags on `app` and returns what to run once `app` has parsed.
Command AddBenchCommand(CLI::App& app);
Command AddDatasetsCommand(CLI::App& app);
Command AddDiffuseCommand(CLI::App& app);
Command AddEvaluateCommand(CLI::App& app);
Command AddGenerateCommand(CLI::App& app);
Command AddGenerationsCommand(CLI::App& app);
Command AddHealthCommand(CLI::App& app);
Command AddModelsCommand(CLI::App& app);
Command AddAdaptersCommand(CLI::App& app);
Command AddPlanCommand(CLI::App& app);
Command AddRoundTripCommand(CLI::App& app);
Command AddSweepCommand(CLI::App& app);
Command AddTokenizeCommand(CLI::App& app);
Command AddTrainCommand(CLI::App& app);
Command AddWatchCommand(CLI::App& app);

// All of the above, each under its name, and what runs the one that was chosen.
Command AddAllCommands(CLI::App& app);

// Ends the help of `app` with examples, a line each, and what else `examples` says, and with the
// exit codes.
inline void SetExamples(CLI::App& app, const std::string& examples) {
  app.footer("Examples:\n" + examples + "\n" + kExitCodesHelp);
}

// The commands below `app`. The user must choose one of them, unless `otherwise` says what to run
// without.
class CommandSet {
 public:
  explicit CommandSet(CLI::App& app, Command otherwise = nullptr)
      : app_(app), otherwise_(std::move(otherwise)) {
    app.require_subcommand(otherwise_ ? 0 : 1, 1);
  }

  // `declare` is called with the new command's app, as the functions above are.
  template <class Declare>
  void Add(const char* name, const char* description, Declare declare) {
    CLI::App* const command = app_.add_subcommand(name, description);
    commands_->emplace_back(command, declare(*command));
  }

  // The same for a command whose help ends with nothing but these examples.
  template <class Declare>
  void Add(const char* name, const char* description, const char* examples, Declare declare) {
    CLI::App* const command = app_.add_subcommand(name, description);
    SetExamples(*command, examples);
    commands_->emplace_back(command, declare(*command));
  }

  // Runs the command that was chosen, once `app` has parsed.
  Command Chosen() const {
    return [commands = commands_, otherwise = otherwise_] {
      for (const auto& [command, run] : *commands) {
        if (command->parsed()) return run();
      }
      return otherwise ? otherwise() : kExitUsage;
    };
  }

 private:
  CLI::App& app_;
  const Command otherwise_;
  std::shared_ptr<std::vector<std::pair<CLI::App*, Command>>> commands_ =
      std::make_shared<std::vector<std::pair<CLI::App*, Command>>>();
};

}  // namespace denoise
