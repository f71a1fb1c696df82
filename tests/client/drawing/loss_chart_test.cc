#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "client/drawing/drawing.h"
#include "core/image/image.h"

namespace denoise {
namespace {

Image Draw(const std::vector<LossPoint>& points, LossChartSize size = {}) {
  const auto png = DrawLoss(points, "loss", FileKind::kPng, size);
  EXPECT_TRUE(png.ok()) << png.status();
  return png.ok() ? DecodeImage(*png, 1 << 24).value() : Image();
}

// The mean row of the smoothed curve's pixels in a column, or NaN where there are none.
double CurveRow(const Image& image, int column) {
  double sum = 0;
  int count = 0;
  for (int row = 0; row < image.height; ++row) {
    const uint8_t* pixel = &image.pixels[(row * image.width + column) * image.channels];
    if (pixel[0] < 40 && pixel[2] > 140) {
      sum += row;
      ++count;
    }
  }
  return count == 0 ? std::nan("") : sum / count;
}

std::vector<LossPoint> Falling() {
  std::vector<LossPoint> points;
  for (int i = 1; i <= 400; ++i) points.push_back({i * 10, (i % 2 ? 1.3 : 0.7) / std::sqrt(i)});
  return points;
}

TEST(LossChart, ALossThatFallsIsACurveThatFalls) {
  const Image image = Draw(Falling());
  ASSERT_EQ(image.width, 640);
  double row = 0;
  for (const int column : {100, 250, 400, 550}) {
    const double next = CurveRow(image, column);
    EXPECT_GT(next, row) << "in column " << column;
    row = next;
  }
}

TEST(LossChart, HasTheSizeThatIsAskedFor) {
  const Image image = Draw(Falling(), {.width = 320, .height = 200});
  EXPECT_EQ(image.width, 320);
  EXPECT_EQ(image.height, 200);
}

TEST(LossChart, LeavesOutWhatIsNoLoss) {
  std::vector<LossPoint> points = Falling();
  points[7].loss = std::nan("");
  points[9].loss = std::numeric_limits<double>::infinity();
  points[11].loss = -1;
  EXPECT_FALSE(std::isnan(CurveRow(Draw(points), 300)));
}

TEST(LossChart, ASinglePointCanBeDrawn) { Draw({{1, 0.5}}); }

TEST(LossChart, NothingToDrawIsAnError) {
  const std::vector<LossPoint> points = {{1, std::nan("")}};
  EXPECT_EQ(DrawLoss(points, "loss", FileKind::kPng).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace denoise
