// How --help looks.
#pragma once

#include <CLI/App.hpp>
#include <cstddef>
#include <string>
#include <vector>

namespace denoise {

// The words of `text` in lines of at most `width` bytes; a longer word stands alone.
std::vector<std::string> WrapWords(const std::string& text, size_t width);

// Flags on the left, their help on the right, wrapped to `columns`. What a flag needs or excludes
// is part of its help. Texts from elsewhere (examples) are printed as they are. Immutable.
class HelpFormatter final : public CLI::Formatter {
 public:
  explicit HelpFormatter(int columns);

  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override;
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_option_opts(const CLI::Option* option) const override;
  std::string make_option_desc(const CLI::Option* option) const override;
  std::string make_subcommand(const CLI::App* command) const override;
  // Names the flags that a command cannot do without, which would get lost among the others.
  std::string make_usage(const CLI::App* app, std::string name) const override;
  std::string make_description(const CLI::App* app) const override;

 private:
  // One entry of the two columns.
  std::string Entry(const std::string& left, const std::string& right) const;

  const size_t columns_;
};

}  // namespace denoise
