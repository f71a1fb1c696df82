#include "client/cli/display/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

constexpr char kHideCursor[] = "\x1b[?25l";
constexpr char kShowCursor[] = "\x1b[?25h";
constexpr char kSaveCursor[] =
    "\x1b"
    "7";
constexpr char kRestoreCursor[] =
    "\x1b"
    "8";
constexpr char kClearToEndOfLine[] = "\x1b[K";
constexpr char kResetAttributes[] = "\x1b[0m";

std::string CursorUp(int rows) { return absl::StrCat("\x1b[", rows, "A"); }
std::string CursorDown(int rows) { return absl::StrCat("\x1b[", rows, "B"); }

// Writes all of `text` to `fd` unless its reader is gone.
void WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

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

LiveScreen::LiveScreen(bool shown, std::unique_ptr<TerminalPicture> pictures)
    : shown_(shown), pictures_(std::move(pictures)) {}

LiveScreen::~LiveScreen() { Close(); }

TerminalSize LiveScreen::size() const { return GetTerminalSize(STDERR_FILENO); }

void LiveScreen::Draw(const Image* picture, const Place& place, const std::string& line) {
  if (!shown_) return;
  std::string text = "\r";
  if (!open_) text += kHideCursor;
  open_ = true;
  if (pictures_ != nullptr && picture != nullptr) {
    if (place_.rows == 0) {
      place_ = place;
      // New lines scroll the screen now, if at all, so that positions do not change later.
      text += kClearToEndOfLine + std::string(place_.rows, '\n');
    }
    if (place_.rows > 0) {
      absl::StrAppend(&text, CursorUp(place_.rows), kSaveCursor,
                      pictures_->Render(*picture, place_.columns, place_.rows, size()),
                      kResetAttributes, kRestoreCursor, CursorDown(place_.rows));
    }
  }
  absl::StrAppend(&text, line, kClearToEndOfLine);
  WriteAll(STDERR_FILENO, text);
}

void LiveScreen::Close() {
  if (!open_) return;
  open_ = false;
  place_ = {};
  WriteAll(STDERR_FILENO, absl::StrCat("\n", kShowCursor));
}

}  // namespace denoise
