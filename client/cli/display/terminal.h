// The terminal that a command runs in.
#pragma once

#include <string_view>

namespace denoise {

struct TerminalSize {
  int columns = 80;
  int rows = 24;
  // Pixels of one character cell; a usual font's where the terminal does not say.
  int cell_width = 10;
  int cell_height = 20;
};

// Of the terminal behind file descriptor `fd`; the defaults where it does not say.
TerminalSize GetTerminalSize(int fd);

// Writes all of `text` to `fd`, as long as somebody listens.
void WriteAll(int fd, std::string_view text);

}  // namespace denoise
