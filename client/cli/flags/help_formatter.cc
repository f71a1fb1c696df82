#include "client/cli/flags/help_formatter.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace denoise {
namespace {

constexpr size_t kMinColumns = 60;
constexpr size_t kMaxColumns = 100;
constexpr size_t kLeftColumns = 28;

// "--invert, --noise": in order, as CLI11 keeps a set of pointers.
std::string Names(const std::set<CLI::Option*>& options) {
  std::vector<std::string> names;
  for (const CLI::Option* option : options) names.push_back(option->get_name());
  std::sort(names.begin(), names.end());
  return absl::StrJoin(names, ", ");
}

// Many flags of one group are named by what they share.
std::string Excluded(const CLI::Option& option) {
  constexpr size_t kMostNames = 4;
  const std::set<CLI::Option*>& others = option.get_excludes();
  const bool of_one_group = std::all_of(
      others.begin(), others.end(),
      [&](const CLI::Option* other) { return other->get_group() == option.get_group(); });
  return others.size() > kMostNames && of_one_group ? "the other flags of this group"
                                                    : Names(others);
}

}  // namespace

std::vector<std::string> WrapWords(const std::string& text, size_t width) {
  std::vector<std::string> lines = {""};
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(text, ' '))) {
    if (!lines.back().empty() && lines.back().size() + 1 + word.size() > width) {
      lines.emplace_back();
    }
    absl::StrAppend(&lines.back(), lines.back().empty() ? "" : " ", word);
  }
  return lines;
}

HelpFormatter::HelpFormatter(int columns)
    : columns_(std::clamp(static_cast<size_t>(std::max(columns, 0)), kMinColumns, kMaxColumns)) {}

// One empty line between groups, where CLI11 has two.
std::string HelpFormatter::make_help(const CLI::App* app, std::string name,
                                     CLI::AppFormatMode mode) const {
  return absl::StrReplaceAll(CLI::Formatter::make_help(app, std::move(name), mode),
                             {{"\n\n\n", "\n\n"}});
}

std::string HelpFormatter::Entry(const std::string& left, const std::string& right) const {
  const std::string indent(kLeftColumns, ' ');
  std::string text = absl::StrCat("  ", left);
  const bool fits = text.size() + 2 <= kLeftColumns;
  std::string gap =
      fits ? std::string(kLeftColumns - text.size(), ' ') : absl::StrCat("\n", indent);
  // The last column stays free: a terminal would wrap a full line.
  for (const std::string& line : WrapWords(right, columns_ - 1 - kLeftColumns)) {
    absl::StrAppend(&text, gap, line);
    gap = absl::StrCat("\n", indent);
  }
  return absl::StrCat(text, "\n");
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  return Entry(make_option_name(option, is_positional) + make_option_opts(option),
               make_option_desc(option));
}

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  if (option->get_type_size() == 0) return "";  // a switch
  return absl::StrCat(" ", option->get_type_name());
}

std::string HelpFormatter::make_option_desc(const CLI::Option* option) const {
  std::string text = option->get_description();
  const auto add = [&text](const std::string& sentence) {
    const bool ended = text.empty() || text.back() == '.';
    absl::StrAppend(&text, text.empty() ? "" : ended ? " " : ". ", sentence);
  };
  if (!option->get_default_str().empty()) {
    add(absl::StrCat("Default: ", option->get_default_str()));
  }
  if (option->get_required()) add("Required");
  if (!option->get_needs().empty()) add("Needs " + Names(option->get_needs()));
  if (!option->get_excludes().empty()) add(absl::StrCat("Not with ", Excluded(*option)));
  return text;
}

std::string HelpFormatter::make_subcommand(const CLI::App* command) const {
  return Entry(command->get_name(), command->get_description());
}

std::string HelpFormatter::make_usage(const CLI::App* app, std::string name) const {
  std::string flags;
  for (const CLI::Option* option : app->get_options()) {
    if (!option->get_required() || option->get_positional()) continue;
    absl::StrAppend(&flags, " ", option->get_name(), make_option_opts(option));
  }
  const std::string usage =
      absl::StrReplaceAll(CLI::Formatter::make_usage(app, std::move(name)),
                          {{" [OPTIONS]", absl::StrCat(flags, " [OPTIONS]")}, {"\n", ""}});
  return absl::StrCat(absl::StrJoin(WrapWords(usage, columns_ - 1), "\n    "), "\n");
}

std::string HelpFormatter::make_description(const CLI::App* app) const {
  return absl::StrCat(absl::StrJoin(WrapWords(app->get_description(), columns_ - 1), "\n"), "\n");
}

}  // namespace denoise
