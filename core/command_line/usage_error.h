// What is wrong with a command line, in our programs' own words.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Error.hpp>
#include <iosfwd>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace denoise {

// The type name of options whose value is a text that may be empty.
inline constexpr char kFreeText[] = "WORDS";

struct UsageError {
  std::string flag;         // what is wrong: "--seed", "path"; empty if it is no single flag
  std::string message;      // names the flag, too
  bool of_command = false;  // a command is missing or unknown, rather than a flag

  bool operator==(const UsageError&) const = default;
};

// The command of `app` that the arguments name, as far as they can be understood. Does not need
// them to be parsed.
const CLI::App& CommandOf(const CLI::App& app, std::span<const std::string> arguments);
// "denoise train create".
std::string CommandName(const CLI::App& app);

// Finds what CLI11 would misread or report badly, before it parses: unknown commands and flags,
// with the nearest known one, flags whose value is missing or empty, and text that is not UTF-8.
// Only unknown commands where the help is asked for.
// `arguments` are those of main() without the program's name.
std::optional<UsageError> CheckCommandLine(const CLI::App& app,
                                           std::span<const std::string> arguments);

// What CLI11 found.
UsageError ToUsageError(const CLI::App& app, const CLI::ParseError& error);

// For people: "denoise: unknown flag --jsno; ..." and where to look. `command` is what CommandName
// gives, of which the first word is the program. Ends with a newline.
std::string UsageErrorText(const UsageError& error, const std::string& command);
// For scripts, one line: {"error": {"code", "message", "flag"}}. Without a newline.
std::string UsageErrorJson(const UsageError& error);

// Whether errors are to be printed as JSON, too, wherever the command line goes wrong.
bool AsksForJson(std::span<const std::string> arguments);

// Does all of this for a program without commands. Nullopt: parsed. True: the help has been printed
// to `out`. False: what is wrong has been printed to `err` and, with --json, to `out`.
std::optional<bool> ParseOrExplain(CLI::App& app, std::span<const std::string> arguments,
                                   std::ostream& out, std::ostream& err);

// The one of `known` that `typed` most likely stands for; empty if none is close.
std::string NearestOf(std::string_view typed, const std::vector<std::string>& known);

}  // namespace denoise
