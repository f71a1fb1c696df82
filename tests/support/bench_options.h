// The command line of benchmarks that declare their flags with CLI11.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>
#include <cstdio>
#include <optional>
#include <string>

namespace denoise {

// Parses. Returns the exit code of a program that has nothing more to do: 0 after the help, 2 after
// bad arguments, which are answered with the usage.
inline std::optional<int> ParseBenchOptions(CLI::App& app, int argc, char** argv) {
  for (CLI::Option* option : app.get_options()) {
    const std::string type = option->get_type_name();
    if (type.starts_with("INT") || type.starts_with("UINT")) {
      option->check(CLI::Validator(CLI::PositiveNumber).description(""));
    }
  }
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "%s\n\n%s", error.what(), app.help().c_str());
    return 2;
  }
}

}  // namespace denoise
