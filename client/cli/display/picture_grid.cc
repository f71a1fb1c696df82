#include "client/cli/display/picture_grid.h"

#include <algorithm>
#include <cstddef>

namespace denoise {
namespace {

constexpr int kMostPictures = 8;
constexpr int kMostPictureRows = 16;
constexpr int kFewestPictureRows = 6;
constexpr int kGapColumns = 2;
constexpr int kGapRows = 1;
constexpr int kTextRows = 3;  // the progress line, and some of the text before

int PictureColumns(const TerminalSize& size, int rows, int width, int height) {
  const double columns = static_cast<double>(rows) * size.cell_height * width /
                         (static_cast<double>(height) * size.cell_width);
  return static_cast<int>(std::clamp(columns + 0.5, 1.0, static_cast<double>(size.columns)));
}

GridLayout MakeLayout(int pictures, int across, int picture_columns, int picture_rows) {
  const int down = (pictures + across - 1) / across;
  return {.pictures = pictures,
          .across = across,
          .picture_columns = picture_columns,
          .picture_rows = picture_rows,
          .columns = across * (picture_columns + kGapColumns) - kGapColumns,
          .rows = down * (picture_rows + kGapRows) - kGapRows};
}

// Leaves one column free: a full line would wrap.
bool Fits(const GridLayout& layout, const TerminalSize& size) {
  return layout.columns < size.columns && layout.rows + kTextRows <= size.rows;
}

// Copies a picture into `grid` with its corner at (left, top).
void CopyPicture(const Image& picture, int left, int top, Image& grid) {
  const bool gray = picture.channels < 3, alpha = picture.channels % 2 == 0;
  const uint8_t* from = picture.pixels.data();
  for (int y = 0; y < picture.height; ++y) {
    uint8_t* to = &grid.pixels[(static_cast<size_t>(top + y) * grid.width + left) * 4];
    for (int x = 0; x < picture.width; ++x, from += picture.channels, to += 4) {
      for (int channel = 0; channel < 3; ++channel) to[channel] = from[gray ? 0 : channel];
      to[3] = alpha ? from[picture.channels - 1] : 255;
    }
  }
}

}  // namespace

GridLayout LayOutGrid(const TerminalSize& size, int count, int picture_width, int picture_height) {
  for (int pictures = std::min(count, kMostPictures); pictures > 0; --pictures) {
    for (int rows = kMostPictureRows; rows >= kFewestPictureRows; --rows) {
      const int columns = PictureColumns(size, rows, picture_width, picture_height);
      for (int across = pictures; across > 0; --across) {
        const GridLayout layout = MakeLayout(pictures, across, columns, rows);
        if (Fits(layout, size)) return layout;
      }
    }
  }
  return {};
}

Image DrawGrid(const std::vector<const Image*>& pictures, const GridLayout& layout) {
  const auto first =
      std::find_if(pictures.begin(), pictures.end(), [](auto* p) { return p != nullptr; });
  if (first == pictures.end() || layout.pictures < 1) return {};
  const int width = (*first)->width, height = (*first)->height;
  const int gap_x = std::max(1, kGapColumns * width / layout.picture_columns);
  const int gap_y = std::max(1, kGapRows * height / layout.picture_rows);
  const int down = (layout.pictures + layout.across - 1) / layout.across;
  Image grid{layout.across * (width + gap_x) - gap_x, down * (height + gap_y) - gap_y, 4, {}};
  grid.pixels.resize(static_cast<size_t>(grid.width) * grid.height * 4, 0);
  for (int i = 0; i < layout.pictures; ++i) {
    if (pictures[i] == nullptr) continue;
    CopyPicture(*pictures[i], i % layout.across * (width + gap_x),
                i / layout.across * (height + gap_y), grid);
  }
  return grid;
}

}  // namespace denoise
