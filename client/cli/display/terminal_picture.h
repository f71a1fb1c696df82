// Pictures in a terminal: as pixels where it can (kitty, iTerm2, sixel), else as coloured symbols.
#pragma once

#include <memory>
#include <string>

#include "client/cli/display/terminal.h"
#include "core/image/image.h"

namespace denoise {

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

}  // namespace denoise
