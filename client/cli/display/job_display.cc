#include "client/cli/display/job_display.h"

#include <algorithm>
#include <string>
#include <utility>

#include "client/drawing/drawing.h"

namespace denoise {
namespace {

constexpr absl::Duration kShortestInterval = absl::Milliseconds(300);
constexpr int kMostRows = 16, kFewestRows = 6;
constexpr int kTextRows = 2;
constexpr int kChartParts = 3, kGridParts = 2;  // of the width
constexpr int64_t kMostChartPixels = 1 << 22;

// Copies `picture` to (left, top), scaled by nearest neighbour to the largest size within width x
// height: sample grids have few pixels.
void Place(const Image& picture, int left, int width, int height, Image& page) {
  const double scale = std::min(static_cast<double>(width) / picture.width,
                                static_cast<double>(height) / picture.height);
  const int shown_width = std::max(1, static_cast<int>(picture.width * scale));
  const int shown_height = std::max(1, static_cast<int>(picture.height * scale));
  const bool gray = picture.channels < 3;
  for (int y = 0; y < shown_height; ++y) {
    const int from_y = std::min(picture.height - 1, static_cast<int>(y / scale));
    for (int x = 0; x < shown_width; ++x) {
      const int from_x = std::min(picture.width - 1, static_cast<int>(x / scale));
      const size_t from = (static_cast<size_t>(from_y) * picture.width + from_x) * picture.channels;
      const size_t to = (static_cast<size_t>(y) * page.width + left + x) * 4;
      for (int c = 0; c < 3; ++c) page.pixels[to + c] = picture.pixels[from + (gray ? 0 : c)];
      page.pixels[to + 3] = 255;
    }
  }
}

Image DrawChart(const JobHistory& history, int width, int height) {
  const auto png = DrawLoss(history.losses(), "loss", FileKind::kPng,
                            {.width = std::max(width, 160), .height = std::max(height, 120)});
  if (!png.ok()) return {};
  absl::StatusOr<Image> chart = DecodeImage(*png, kMostChartPixels);
  return chart.ok() ? *std::move(chart) : Image();
}

LiveScreen::Place PlaceOn(const TerminalSize& size) {
  const int rows = std::min(kMostRows, size.rows - kTextRows);
  if (rows < kFewestRows) return {};
  const double cells_across = static_cast<double>(size.cell_height) / size.cell_width;
  const int columns =
      static_cast<int>(rows * cells_across * (kChartParts + kGridParts) / kGridParts);
  return {.columns = std::min(size.columns - 1, columns), .rows = rows};
}

}  // namespace

JobDisplay::JobDisplay(bool shown, std::unique_ptr<TerminalPicture> pictures)
    : screen_(shown, std::move(pictures)) {}

void JobDisplay::Update(const JobHistory& history, absl::Time now) {
  if (now - drawn_ < kShortestInterval) return;
  drawn_ = now;
  Draw(history);
}

void JobDisplay::Draw(const JobHistory& history) {
  if (!screen_.shown()) return;
  const TerminalSize size = screen_.size();
  const std::string line = history.Line(std::max(1, size.columns - 1));
  const LiveScreen::Place place = PlaceOn(size);
  Image page;
  if (screen_.shows_pictures() && place.rows > 0) {
    page = DrawJob(history, place.columns * size.cell_width, place.rows * size.cell_height);
  }
  screen_.Draw(page.pixels.empty() ? nullptr : &page, place, line);
}

Image DrawJob(const JobHistory& history, int width, int height) {
  const int chart_width = width * kChartParts / (kChartParts + kGridParts);
  const Image chart = DrawChart(history, chart_width, height);
  if (chart.pixels.empty() && !history.grid()) return {};
  Image page{width, height, 4, std::vector<uint8_t>(static_cast<size_t>(width) * height * 4)};
  if (!chart.pixels.empty()) Place(chart, 0, chart_width, height, page);
  if (history.grid()) Place(*history.grid(), chart_width, width - chart_width, height, page);
  return page;
}

}  // namespace denoise
