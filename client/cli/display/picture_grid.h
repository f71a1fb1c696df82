// A few pictures in a grid, as large as a terminal allows.
#pragma once

#include <vector>

#include "client/cli/display/terminal.h"
#include "core/image/image.h"

namespace denoise {

// Sizes are in character cells.
struct GridLayout {
  int pictures = 0;  // how many are shown; 0 if there is no room
  int across = 0;    // pictures side by side
  int picture_columns = 0;
  int picture_rows = 0;
  int columns = 0;  // of the whole grid
  int rows = 0;
};

// The largest grid, up to a pleasant size, for up to `count` pictures of this shape. Leaves room
// for a line of text. Pure.
GridLayout LayOutGrid(const TerminalSize& size, int count, int picture_width, int picture_height);

// The first `layout.pictures` of `pictures` as one RGBA image with the proportions of the layout.
// Null pictures and the space between are transparent; the others have the shape given to
// LayOutGrid.
Image DrawGrid(const std::vector<const Image*>& pictures, const GridLayout& layout);

}  // namespace denoise
