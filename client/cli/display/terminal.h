// The terminal that a command runs in: its size, pictures in it, and a place that is drawn over and
// over.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/image/image.h"

namespace denoise {

struct TerminalSize {
  int columns = 80;
  int rows = 24;
  // Pixels of one character cell; a usual font's if the terminal does not say.
  int cell_width = 10;
  int cell_height = 20;
};

// Of the terminal behind file descriptor `fd`; the defaults if there is none.
TerminalSize GetTerminalSize(int fd);

// Pictures in a terminal: as pixels where it can (kitty, iTerm2, sixel), else as coloured symbols.
// Immutable, used by one thread.
class TerminalPicture {
 public:
  virtual ~TerminalPicture() = default;

  // Control sequences that show `image`, which is RGBA, stretched over `columns` x `rows` character
  // cells of a terminal of `size`, to the right of and below the cursor. They first remove what an
  // earlier picture left in the same place. Where the cursor ends up differs between terminals.
  virtual std::string Render(const Image& image, int columns, int rows,
                             const TerminalSize& size) const = 0;

  // Detects what the terminal can do from its environment variables. Null if it cannot show
  // pictures, or if this program was built without chafa.
  static std::unique_ptr<TerminalPicture> Detect();
};

// A picture and a line below it, redrawn in the same place of standard error. What is on the screen
// when it is closed stays. Not thread-safe.
class LiveScreen {
 public:
  // Without `pictures` it draws the line only. A screen that is not `shown` draws nothing at all.
  LiveScreen(bool shown, std::unique_ptr<TerminalPicture> pictures);
  ~LiveScreen();  // Close()
  LiveScreen(const LiveScreen&) = delete;
  LiveScreen& operator=(const LiveScreen&) = delete;

  bool shown() const { return shown_; }
  bool shows_pictures() const { return shown_ && pictures_ != nullptr; }
  TerminalSize size() const;

  // Where a picture goes, in character cells.
  struct Place {
    int columns = 0;
    int rows = 0;
  };

  // `line` must fit into the terminal. The first place of a picture is kept for all that follow. An
  // empty place or a null picture draws no picture.
  void Draw(const Image* picture, const Place& place, const std::string& line);

  // Restores the terminal. Does nothing if nothing was drawn.
  void Close();

 private:
  const bool shown_;
  const std::unique_ptr<TerminalPicture> pictures_;
  bool open_ = false;
  Place place_;  // of the picture on the screen; no rows: none yet
};

}  // namespace denoise
