#include "client/cli/live_display.h"

#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

constexpr absl::Duration kShortestInterval = absl::Milliseconds(100);

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

}  // namespace

LiveDisplay::LiveDisplay(bool shown, std::unique_ptr<TerminalPicture> pictures)
    : shown_(shown), pictures_(std::move(pictures)) {}

LiveDisplay::~LiveDisplay() { Close(); }

void LiveDisplay::Update(const Progress& progress, const PictureHistory* history, absl::Time now) {
  if (now - drawn_ < kShortestInterval) return;
  drawn_ = now;
  Draw(progress, history);
}

void LiveDisplay::Close(const Progress& progress, const PictureHistory* history) {
  Draw(progress, history);
  Close();
}

void LiveDisplay::Close() {
  if (!open_) return;
  open_ = false;
  WriteAll(STDERR_FILENO, absl::StrCat("\n", kShowCursor));
}

void LiveDisplay::Draw(const Progress& progress, const PictureHistory* history) {
  if (!shown_) return;
  const TerminalSize size = GetTerminalSize(STDERR_FILENO);
  std::string text = "\r";
  if (!open_) text += kHideCursor;
  open_ = true;
  if (pictures_ != nullptr && history != nullptr) text += DrawPictures(*history, size);
  // One column is left free: a full line would wrap.
  absl::StrAppend(&text, progress.Line(std::max(1, size.columns - 1)), kClearToEndOfLine);
  WriteAll(STDERR_FILENO, text);
}

std::string LiveDisplay::DrawPictures(const PictureHistory& history, const TerminalSize& size) {
  const std::vector<const Image*> latest = history.Latest();
  const auto first =
      std::find_if(latest.begin(), latest.end(), [](auto* p) { return p != nullptr; });
  if (first == latest.end()) return "";
  std::string text;
  if (layout_.rows == 0) {
    layout_ = LayOutGrid(size, static_cast<int>(latest.size()), (*first)->width, (*first)->height);
    // New lines scroll the screen if they must, and never afterwards: positions stay what they are.
    text = kClearToEndOfLine + std::string(layout_.rows, '\n');
  }
  if (layout_.rows == 0) return text;
  const std::string grid =
      pictures_->Render(DrawGrid(latest, layout_), layout_.columns, layout_.rows, size);
  return absl::StrCat(text, CursorUp(layout_.rows), kSaveCursor, grid, kResetAttributes,
                      kRestoreCursor, CursorDown(layout_.rows));
}

}  // namespace denoise
