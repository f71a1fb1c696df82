#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "client/drawing/drawing.h"
#include "core/image/image.h"

namespace denoise {
namespace {

Image Decode(const absl::StatusOr<std::string>& png) {
  EXPECT_TRUE(png.ok()) << png.status();
  return png.ok() ? DecodeImage(*png, 1 << 24).value() : Image();
}

// Pixels of the palette's n-th color: blue, or vermilion.
int Colored(const Image& image, int n, int first_column, int end_column) {
  int count = 0;
  for (int row = 0; row < image.height; ++row) {
    for (int column = first_column; column < end_column; ++column) {
      const uint8_t* pixel = &image.pixels[(row * image.width + column) * image.channels];
      const bool blue = pixel[0] < 30 && pixel[1] > 90 && pixel[2] > 150;
      const bool vermilion = pixel[0] > 190 && pixel[1] < 130 && pixel[2] < 30;
      count += (n == 0 ? blue : vermilion) ? 1 : 0;
    }
  }
  return count;
}

std::vector<double> Sorted(double first, double step) {
  std::vector<double> seconds;
  for (int i = 0; i < 100; ++i) seconds.push_back(first + i * step);
  return seconds;
}

LatencyChart TwoKinds() {
  return {
      .title = "a run",
      .lines = {{"quick", Sorted(0.1, 0.01), Sorted(0.05, 0.001)}, {"slow", Sorted(1, 0.2), {}}},
      .in_flight = {{0, 0}, {1, 0}, {1, 3}, {20, 3}, {20, 0}},
      .warmup_seconds = 2};
}

TEST(LatencyChart, EveryLineHasItsColorInThePanelsThatKnowIt) {
  const Image image = Decode(DrawLatencies(TwoKinds(), FileKind::kPng));
  const int middle = image.width / 2;
  EXPECT_GT(Colored(image, 0, 0, middle), 200);
  EXPECT_GT(Colored(image, 1, 0, middle), 200);
  EXPECT_GT(Colored(image, 0, middle, image.width), 200);
  EXPECT_EQ(Colored(image, 1, middle, image.width), 0) << "it has no frames";
}

TEST(LatencyChart, ManyLatenciesAndCornersAreDrawn) {
  LatencyChart chart = TwoKinds();
  for (int i = 0; i < 100'000; ++i) {
    chart.lines[0].request_seconds.push_back(2 + i * 1e-5);
    chart.in_flight.push_back({20 + i * 1e-3, std::fmod(i, 7)});
  }
  EXPECT_GT(Colored(Decode(DrawLatencies(chart, FileKind::kPng)), 0, 0, 700), 200);
}

TEST(LatencyChart, OneLatencyIsEnoughAndNoneIsNot) {
  LatencyChart chart{.title = "one", .lines = {{"all", {0.25}, {}}}};
  EXPECT_TRUE(DrawLatencies(chart, FileKind::kPng).ok());
  EXPECT_TRUE(DrawLatencies(chart, FileKind::kSvg).ok());
  chart.lines[0].request_seconds = {0};
  EXPECT_TRUE(DrawLatencies(chart, FileKind::kPng).ok()) << "a logarithmic axis has no zero";
  chart.lines[0].request_seconds.clear();
  EXPECT_TRUE(absl::IsInvalidArgument(DrawLatencies(chart, FileKind::kPng).status()));
  chart.lines.assign(kMaxChartedLines + 1, {"all", {0.25}, {}});
  EXPECT_TRUE(absl::IsInvalidArgument(DrawLatencies(chart, FileKind::kPng).status()));
}

ComparisonChart TwoServers() {
  return {.title = "two servers",
          .lines = {{"evaluation", {{0.5, 1}, {1, 2}}, {{0.5, 0.1}, {1, 0.2}}, {{0.5, 4}, {1, 8}}},
                    {"none", {{0.5, 3}, {1, 60}}, {}, {{0.5, 4}, {1, 3}}}},
          .capacity = 8};
}

TEST(ComparisonChart, EveryServerHasItsColorInThePanelsThatKnowIt) {
  const Image image = Decode(DrawComparison(TwoServers(), FileKind::kPng));
  for (int panel = 0; panel < 3; ++panel) {
    const int first = image.width * panel / 3 + 90, end = image.width * (panel + 1) / 3;
    EXPECT_GT(Colored(image, 0, first, end), 100) << panel;
    EXPECT_EQ(Colored(image, 1, first, end) > 0, panel != 1) << panel;
  }
}

TEST(ComparisonChart, NeedsARun) {
  EXPECT_TRUE(absl::IsInvalidArgument(DrawComparison({}, FileKind::kPng).status()));
  ComparisonChart chart{.title = "nothing succeeded", .lines = {{"none", {}, {}, {{3, 0}}}}};
  EXPECT_TRUE(DrawComparison(chart, FileKind::kPng).ok());
  chart.lines[0].goodput.clear();
  EXPECT_TRUE(absl::IsInvalidArgument(DrawComparison(chart, FileKind::kPng).status()));
}

}  // namespace
}  // namespace denoise
