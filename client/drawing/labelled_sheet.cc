#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "client/drawing/canvas.h"
#include "client/drawing/drawing.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr Color kInk{0.15, 0.15, 0.15};
constexpr double kTextSize = 14;
constexpr int kCellPixels = 128;  // the size that small pictures are enlarged to
constexpr int kGap = 6;
constexpr int kMargin = 12;
constexpr int kLine = 26;
constexpr int64_t kMaxSide = 32767;  // cairo's limit

absl::Status Validate(const LabelledSheet& sheet) {
  if (sheet.cells.empty() || sheet.cells.size() != sheet.rows.size() * sheet.columns.size()) {
    return absl::InvalidArgumentError(absl::StrCat("a sheet of ", sheet.rows.size(), " x ",
                                                   sheet.columns.size(), " labels cannot hold ",
                                                   sheet.cells.size(), " pictures"));
  }
  const Image& first = sheet.cells[0];
  for (const Image& cell : sheet.cells) {
    if (cell.width != first.width || cell.height != first.height) {
      return absl::InvalidArgumentError("the pictures of a sheet differ in size");
    }
  }
  return absl::OkStatus();
}

// Where everything is, in pixels.
struct Layout {
  int scale;
  int cell_width, cell_height;  // with room for the labels, without the gap
  int left, top;                // of the first cell
  int64_t width, height;        // of the sheet
};

int WidestText(const std::vector<std::string>& texts) {
  Canvas measure(FileKind::kPng, 1, 1);
  double widest = 0;
  for (const std::string& text : texts) {
    widest = std::max(widest, measure.TextWidth(kTextSize, text));
  }
  return static_cast<int>(widest + 0.5);
}

Layout LayOut(const LabelledSheet& sheet) {
  const Image& cell = sheet.cells[0];
  Layout layout{};
  layout.scale = std::max(1, kCellPixels / std::max(cell.width, cell.height));
  layout.cell_width = std::max(layout.scale * cell.width, WidestText(sheet.columns));
  layout.cell_height = layout.scale * cell.height;
  layout.left = kMargin + WidestText(sheet.rows) + kGap;
  layout.top = kMargin + 2 * kLine;
  const int64_t columns = static_cast<int64_t>(sheet.columns.size());
  const int64_t rows = static_cast<int64_t>(sheet.rows.size());
  layout.width = std::max(layout.left + columns * (layout.cell_width + kGap),
                          int64_t{kMargin} + WidestText({sheet.title})) +
                 kMargin - kGap;
  layout.height = layout.top + rows * (layout.cell_height + kGap) + kMargin - kGap;
  return layout;
}

void Draw(const LabelledSheet& sheet, const Layout& layout, Canvas& canvas) {
  canvas.SetColor(kInk);
  canvas.Text(kMargin, kMargin + kTextSize, kTextSize, Align::kLeft, sheet.title);
  const auto x = [&](size_t column) {
    return layout.left + static_cast<double>(column) * (layout.cell_width + kGap);
  };
  const auto y = [&](size_t row) {
    return layout.top + static_cast<double>(row) * (layout.cell_height + kGap);
  };
  for (size_t column = 0; column < sheet.columns.size(); ++column) {
    canvas.Text(x(column), layout.top - kGap, kTextSize, Align::kLeft, sheet.columns[column]);
  }
  for (size_t row = 0; row < sheet.rows.size(); ++row) {
    canvas.Text(layout.left - kGap, y(row) + (layout.cell_height + kTextSize) / 2, kTextSize,
                Align::kRight, sheet.rows[row]);
  }
  for (size_t i = 0; i < sheet.cells.size(); ++i) {
    canvas.Picture(x(i % sheet.columns.size()), y(i / sheet.columns.size()), layout.scale,
                   sheet.cells[i]);
  }
}

}  // namespace

absl::StatusOr<std::string> DrawLabelledSheet(const LabelledSheet& sheet) {
  RETURN_IF_ERROR(Validate(sheet));
  const Layout layout = LayOut(sheet);
  if (std::max(layout.width, layout.height) > kMaxSide) {
    return absl::InvalidArgumentError(
        absl::StrCat("a sheet of ", layout.width, " x ", layout.height, " pixels is too large"));
  }
  Canvas canvas(FileKind::kPng, static_cast<int>(layout.width), static_cast<int>(layout.height));
  Draw(sheet, layout, canvas);
  return canvas.Finish();
}

}  // namespace denoise
