#include "core/command_line/usage_error.h"

#include <CLI/Option.hpp>
#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <ostream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "core/base/utf8.h"

namespace denoise {
namespace {

// Names that other programs have for what our flags set. The first flag that the command has is
// suggested.
struct OtherName {
  const char* name;
  const char* flag;
};
constexpr OtherName kOtherNames[] = {
    {"text", "--prompt"},
    {"negative", "--negative-prompt"},
    {"neg", "--negative-prompt"},
    {"class", "--class-label"},
    {"category", "--class-label"},
    {"cfg", "--guidance-scale"},
    {"cfg-scale", "--guidance-scale"},
    {"guidance", "--guidance-scale"},
    {"num-images", "--count"},
    {"num", "--count"},
    {"batch", "--batch-size"},
    {"batch-size", "--count"},
    {"num-inference-steps", "--steps"},
    {"num-steps", "--steps"},
    {"iterations", "--max-steps"},
    {"epochs", "--max-steps"},
    {"steps", "--max-steps"},
    {"scheduler", "--sampler"},
    {"lr", "--learning-rate"},
    {"size", "--height"},
    {"resolution", "--height"},
    {"image-size", "--height"},
    {"ema", "--ema-decays"},
    {"ema-decay", "--ema-decays"},
    {"data", "--dataset"},
    {"data-set", "--dataset"},
    {"output", "--out"},
    {"output-dir", "--out"},
    {"force", "--overwrite"},
    {"image", "--init"},
    {"host", "--server"},
    {"address", "--server"},
    {"port", "--server"},
    {"host", "--listen"},
    {"address", "--listen"},
    {"port", "--listen"},
    {"timeout", "--deadline"},
};

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row[b.size()];
}

// "class-label" for "--Class_Label".
std::string Plain(std::string_view name) {
  while (name.starts_with('-')) name.remove_prefix(1);
  return absl::StrReplaceAll(absl::AsciiStrToLower({name.data(), name.size()}), {{"_", "-"}});
}

const CLI::Option* FindOption(const CLI::App& app, const std::string& name) {
  return app.get_option_no_throw(name);
}

bool TakesValue(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

bool TakesArgument(const CLI::App& app) {
  const std::vector<const CLI::Option*> options = app.get_options();
  return std::any_of(options.begin(), options.end(),
                     [](const CLI::Option* option) { return option->get_positional(); });
}

std::vector<std::string> FlagsOf(const CLI::App& app) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  return flags;
}

std::vector<std::string> CommandsOf(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) names.push_back(command->get_name());
  return names;
}

std::string NearestFlag(const std::string& typed, const CLI::App& app) {
  const std::string name = Plain(typed);
  if (FindOption(app, "--" + name) != nullptr) return "--" + name;
  for (const OtherName& other : kOtherNames) {
    if (name == other.name && FindOption(app, other.flag) != nullptr) return other.flag;
  }
  return NearestOf(typed, FlagsOf(app));
}

std::string DidYouMean(const std::string& nearest) {
  return nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?");
}

UsageError UnknownFlag(const std::string& typed, const CLI::App& app) {
  return {typed, absl::StrCat("unknown flag ", typed, DidYouMean(NearestFlag(typed, app)))};
}

// What `denoised`, the program of the server, has beside the commands that it carries out for this
// one.
constexpr std::string_view kServerCommands[] = {"new-handover-key", "new-token", "rank"};

UsageError UnknownCommand(const std::string& typed, const CLI::App& app) {
  if (app.get_parent() == nullptr &&
      std::count(std::begin(kServerCommands), std::end(kServerCommands), typed) > 0) {
    return {typed, absl::StrCat(typed, " is a command of the server's program: denoised ", typed),
            /*of_command=*/true};
  }
  return {typed,
          absl::StrCat("unknown command ", typed, DidYouMean(NearestOf(typed, CommandsOf(app)))),
          /*of_command=*/true};
}

UsageError MissingValue(const std::string& flag, const CLI::Option& option,
                        const std::string& instead) {
  return {flag, absl::StrCat(flag, ": needs a value, ", option.get_type_name(),
                             instead.empty() ? "" : absl::StrCat("; ", instead, " is a flag"))};
}

// Paths are any bytes.
bool TakesPath(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  return type == "FILE" || type == "DIR" || type == "PATH" || type == "...";
}

// What is wrong with a value, whatever the flag means. An empty one comes from a variable that is
// not set more often than from the user, and must not pass for a flag that is not given.
std::optional<UsageError> CheckValue(const std::string& flag, const CLI::Option& option,
                                     const std::string& value) {
  if (value.empty() && option.get_type_name() != kFreeText) {
    return UsageError{flag, absl::StrCat(flag, ": must not be empty")};
  }
  if (!TakesPath(option) && !IsUtf8(value)) {
    return UsageError{flag, absl::StrCat(flag, ": must be text in UTF-8; is ", value)};
  }
  return std::nullopt;
}

bool AsksForHelp(std::span<const std::string> arguments) {
  return std::any_of(arguments.begin(), arguments.end(), [](const std::string& argument) {
    return argument == "-h" || argument == "--help" || argument == "--version";
  });
}

// Reports an unknown command even with --help, which would otherwise print the general help.
std::optional<UsageError> CheckCommand(const CLI::App& app,
                                       std::span<const std::string> arguments) {
  if (arguments.front().starts_with('-') || TakesArgument(app)) return std::nullopt;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    if (command->get_name() == arguments.front())
      return CheckCommand(*command, arguments.subspan(1));
  }
  if (app.get_subcommands(nullptr).empty()) return std::nullopt;
  return UnknownCommand(arguments.front(), app);
}

// Goes through the arguments as CLI11 does.
class Reader {
 public:
  Reader(const CLI::App& app, std::span<const std::string> arguments)
      : app_(&app), arguments_(arguments) {}

  std::optional<UsageError> Read() {
    while (next_ < arguments_.size()) {
      const std::string& argument = arguments_[next_++];
      if (argument == "--") return std::nullopt;
      std::optional<UsageError> error;
      if (argument.starts_with("--")) {
        error = ReadFlag(argument);
      } else if (argument.size() > 1 && argument[0] == '-') {
        error = ReadShortFlag(argument);
      } else {
        error = ReadWord(argument);
      }
      if (error) return error;
    }
    return std::nullopt;
  }

 private:
  std::optional<UsageError> ReadFlag(const std::string& argument) {
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(0, equals);
    const CLI::Option* const option = FindOption(*app_, name);
    if (option == nullptr) return Unknown(name);
    if (!TakesValue(*option)) return std::nullopt;
    if (equals == std::string::npos) return TakeValue(name, *option);
    if (equals + 1 == argument.size()) return MissingValue(name, *option, "");
    return CheckValue(name, *option, argument.substr(equals + 1));
  }

  std::optional<UsageError> ReadShortFlag(const std::string& argument) {
    const std::string name = argument.substr(0, 2);
    const std::string long_name = absl::StrCat("-", argument.substr(0, argument.find('=')));
    if (argument.size() > 2 && FindOption(*app_, long_name) != nullptr) {
      return UsageError{argument,
                        absl::StrCat("unknown flag ", argument.substr(0, argument.find('=')),
                                     DidYouMean(long_name))};
    }
    const CLI::Option* const option = FindOption(*app_, name);
    if (option == nullptr) return Unknown(argument);
    if (!TakesValue(*option)) return std::nullopt;
    if (argument.size() > 2) return CheckValue(name, *option, argument.substr(2));
    return TakeValue(name, *option);
  }

  // A command, or a positional argument. Where it may be either, the first of several words is
  // meant for a command if it is close to one.
  std::optional<UsageError> ReadWord(const std::string& word) {
    const auto commands = app_->get_subcommands(nullptr);
    if (commands.empty()) return CheckArgument(word);
    for (const CLI::App* command : commands) {
      if (command->get_name() != word) continue;
      app_ = command;
      return std::nullopt;
    }
    if (!TakesArgument(*app_)) return UnknownCommand(word, *app_);
    if (argument_.empty()) {
      argument_ = word;
    } else if (!NearestOf(argument_, CommandsOf(*app_)).empty()) {
      return UnknownCommand(argument_, *app_);
    }
    return CheckArgument(word);
  }

  // Words fill the positional arguments in their order; the last may take several.
  std::optional<UsageError> CheckArgument(const std::string& word) {
    const std::vector<const CLI::Option*> arguments =
        app_->get_options([](const CLI::Option* option) { return option->get_positional(); });
    if (arguments.empty()) return std::nullopt;
    const CLI::Option& argument = *arguments[std::min(words_++, arguments.size() - 1)];
    return CheckValue(argument.get_name(/*positional=*/true), argument, word);
  }

  std::optional<UsageError> TakeValue(const std::string& flag, const CLI::Option& option) {
    if (next_ == arguments_.size()) return MissingValue(flag, option, "");
    const std::string& value = arguments_[next_++];
    const bool is_flag = value.starts_with("--") && value.size() > 2 &&
                         FindOption(*app_, value.substr(0, value.find('='))) != nullptr;
    if (is_flag) return MissingValue(flag, option, value);
    return CheckValue(flag, option, value);
  }

  // A flag that a later command has is only in the wrong place.
  UsageError Unknown(const std::string& name) const {
    const CLI::App& later = CommandOf(*app_, arguments_.subspan(next_));
    if (&later != app_ && FindOption(later, name) != nullptr) {
      return {name,
              absl::StrCat(name, " must come after the command: ", CommandName(later), " ", name)};
    }
    return UnknownFlag(name, later);
  }

  const CLI::App* app_;
  const std::span<const std::string> arguments_;
  size_t next_ = 0;
  std::string argument_;  // the first word of `app_` that is no command
  size_t words_ = 0;      // positional arguments so far
};

// The beginning of `message`, up to `end`, if that is the name of an option.
std::string LeadingName(const std::string& message, std::string_view end) {
  const size_t at = message.find(std::string(end));
  return at == std::string::npos ? "" : message.substr(0, at);
}

// What CLI11's own checks find: "--port: Value 9 not in range 1 to 8", "--color: red not in {b,w}".
std::string InOurWords(const std::string& message) {
  constexpr std::string_view kRange = " not in range ", kSet = " not in {", kValue = ": Value ";
  if (const size_t at = message.find(kValue), range = message.find(kRange);
      at != std::string::npos && range != std::string::npos && at < range) {
    const size_t value = at + kValue.size();
    return absl::StrCat(message.substr(0, at), ": must be from ",
                        message.substr(range + kRange.size()), "; is ",
                        message.substr(value, range - value));
  }
  if (const size_t colon = message.find(": "), set = message.find(kSet);
      colon != std::string::npos && set != std::string::npos && message.ends_with('}')) {
    const std::string names =
        message.substr(set + kSet.size(), message.size() - set - kSet.size() - 1);
    return absl::StrCat(message.substr(0, colon), ": must be one of ",
                        absl::StrReplaceAll(names, {{",", ", "}}), "; is ",
                        message.substr(colon + 2, set - colon - 2));
  }
  return message;
}

// Control characters, and bytes that are not UTF-8, as escapes.
std::string Shown(const std::string& text) {
  const bool is_utf8 = IsUtf8(text);
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_iscntrl(byte) || (byte >= 0x80 && !is_utf8)) {
      absl::StrAppendFormat(&shown, "\\x%02x", byte);
    } else {
      shown += c;
    }
  }
  return shown;
}

// Of the command that was chosen.
int TimesGiven(const CLI::App& app, const std::string& name) {
  const auto chosen = app.get_subcommands();
  if (!chosen.empty()) return TimesGiven(*chosen.front(), name);
  const CLI::Option* const option = FindOption(app, name);
  return option == nullptr ? 0 : static_cast<int>(option->count());
}

}  // namespace

const CLI::App& CommandOf(const CLI::App& app, std::span<const std::string> arguments) {
  const CLI::App* command = &app;
  for (const std::string& argument : arguments) {
    for (const CLI::App* candidate : command->get_subcommands(nullptr)) {
      if (candidate->get_name() != argument) continue;
      command = candidate;
      break;
    }
  }
  return *command;
}

std::string CommandName(const CLI::App& app) {
  return app.get_parent() == nullptr
             ? app.get_name()
             : absl::StrCat(CommandName(*app.get_parent()), " ", app.get_name());
}

std::string NearestOf(std::string_view typed, const std::vector<std::string>& known) {
  const std::string name = Plain(typed);
  std::string nearest;
  size_t least = name.size() / 3 + 2;  // more than this many edits away is another word
  for (const std::string& candidate : known) {
    const std::string other = Plain(candidate);
    const bool begins = name.size() >= 3 && other.starts_with(name);
    const size_t distance = begins ? 1 : EditDistance(name, other);
    const bool better = distance < least || (distance == least && !nearest.empty() &&
                                             candidate.size() < nearest.size());
    if (!better || distance >= name.size()) continue;
    least = distance;
    nearest = candidate;
  }
  return nearest;
}

std::optional<UsageError> CheckCommandLine(const CLI::App& app,
                                           std::span<const std::string> arguments) {
  if (AsksForHelp(arguments)) return CheckCommand(app, arguments);
  return Reader(app, arguments).Read();
}

UsageError ToUsageError(const CLI::App& app, const CLI::ParseError& error) {
  const std::string message = error.what();
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    if (absl::StartsWith(message, "A subcommand")) return {"", "a command is missing", true};
    return {LeadingName(message, " is required"), message};
  }
  if (dynamic_cast<const CLI::ExcludesError*>(&error) != nullptr) {
    return {LeadingName(message, " excludes "),
            absl::StrReplaceAll(message, {{" excludes ", " cannot be combined with "}})};
  }
  if (dynamic_cast<const CLI::RequiresError*>(&error) != nullptr) {
    return {LeadingName(message, " requires "),
            absl::StrReplaceAll(message, {{" requires ", " needs "}})};
  }
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const std::vector<std::string> extras = app.remaining(/*recurse=*/true);
    const std::string first = extras.empty() ? "" : extras.front();
    return {first, absl::StrCat("unexpected argument ", first)};
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    const std::string name = LeadingName(message, ": ");
    if (const int times = TimesGiven(app, name); times > 1) {
      return {name, absl::StrCat(name, ": is given ", times, " times; give it once")};
    }
    return {name, absl::StrCat(name, ": needs a value")};
  }
  if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr) {
    // Only these are left to CLI11: "--json=maybe".
    const size_t at = message.find("--");
    const std::string name =
        at == std::string::npos ? "" : message.substr(at, message.find_first_of(": ", at) - at);
    return {name, absl::StrCat(name.empty() ? message : name,
                               name.empty() ? "" : ": must be true or false")};
  }
  return {LeadingName(message, ": "), InOurWords(message)};
}

std::string UsageErrorText(const UsageError& error, const std::string& command) {
  return absl::StrCat(command.substr(0, command.find(' ')), ": ", Shown(error.message), "\n  `",
                      command, " --help` ",
                      error.of_command ? "lists the commands." : "explains every flag.", "\n");
}

std::string UsageErrorJson(const UsageError& error) {
  nlohmann::ordered_json json = {{"code", "INVALID_ARGUMENT"}, {"message", error.message}};
  if (!error.flag.empty()) json["flag"] = error.flag;
  const nlohmann::ordered_json line = {{"error", json}};
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

bool AsksForJson(std::span<const std::string> arguments) {
  return std::any_of(arguments.begin(), arguments.end(), [](const std::string& argument) {
    return argument == "--json" || argument == "--json=true";
  });
}

std::optional<bool> ParseOrExplain(CLI::App& app, std::span<const std::string> arguments,
                                   std::ostream& out, std::ostream& err) {
  std::optional<UsageError> error = CheckCommandLine(app, arguments);
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 takes them
    if (!error) app.parse(std::move(reversed));
  } catch (const CLI::Success& help) {
    app.exit(help, out, err);
    return true;
  } catch (const CLI::ParseError& parse_error) {
    error = ToUsageError(app, parse_error);
  }
  if (!error) return std::nullopt;
  err << UsageErrorText(*error, CommandName(app));
  if (AsksForJson(arguments)) out << UsageErrorJson(*error) << "\n";
  return false;
}

}  // namespace denoise
