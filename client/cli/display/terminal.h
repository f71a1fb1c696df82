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
  // cells of a terminal of `size`, from the cursor on to the right and down. They begin by removing
  // what an earlier picture left in the same place; where the cursor ends up differs between
  // terminals.
  virtual std::string Render(const Image& image, int columns, int rows,
                             const TerminalSize& size) const = 0;

  // What the terminal can do, as its environment variables tell. Null where it cannot show
  // pictures, or where this program was built without chafa.
  static std::unique_ptr<TerminalPicture> Detect();
};

// A picture and a line below it, drawn over and over in the same place.
// Draws on standard error. Not thread-safe. What stands there when it is closed stays.
class LiveScreen {
 public:
  // `pictures` may be null: the line only. A screen that is not `shown` draws nothing at all.
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

  // `line` fits into the terminal. The first place of a picture is kept for all that follow; an empty
  // one, or a null picture, draws none.
  void Draw(const Image* picture, const Place& place, const std::string& line);

  // Gives the terminal back. Does nothing where nothing was drawn.
  void Close();

 private:
  const bool shown_;
  const std::unique_ptr<TerminalPicture> pictures_;
  bool open_ = false;
  Place place_;  // of the picture on the screen; no rows yet: none
};

}  // namespace denoise
