#include "client/cli/display/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

namespace denoise {

TerminalSize GetTerminalSize(int fd) {
  TerminalSize size;
  winsize window{};
  if (ioctl(fd, TIOCGWINSZ, &window) != 0 || window.ws_col == 0 || window.ws_row == 0) return size;
  size.columns = window.ws_col;
  size.rows = window.ws_row;
  if (window.ws_xpixel >= window.ws_col && window.ws_ypixel >= window.ws_row) {
    size.cell_width = window.ws_xpixel / window.ws_col;
    size.cell_height = window.ws_ypixel / window.ws_row;
  }
  return size;
}

void WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace denoise
