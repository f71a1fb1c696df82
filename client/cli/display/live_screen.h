// A picture and a line below it, drawn over and over in the same place of a terminal.
#pragma once

#include <memory>
#include <string>

#include "client/cli/display/terminal.h"
#include "client/cli/display/terminal_picture.h"
#include "core/image/image.h"

namespace denoise {

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
