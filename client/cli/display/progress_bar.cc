#include "client/cli/display/progress_bar.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace denoise {
namespace {

constexpr int kMostBarColumns = 32;
constexpr int kFewestBarColumns = 8;

// Whole and eighth blocks, so that the bar moves smoothly.
std::string Bar(double fraction, int columns) {
  constexpr std::string_view kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(std::lround(std::clamp(fraction, 0.0, 1.0) * columns * 8));
  std::string bar;
  for (int i = 0; i < eighths / 8; ++i) bar += "█";
  bar += kEighths[eighths % 8];
  const int filled = eighths / 8 + (eighths % 8 != 0 ? 1 : 0);
  for (int i = filled; i < columns; ++i) bar += "░";
  return bar;
}

}  // namespace

std::string LineWithBar(const std::string& head, double fraction, const std::string& tail,
                        int width) {
  const int room = width - static_cast<int>(head.size() + tail.size());
  if (room < kFewestBarColumns) return (head + tail).substr(0, width);
  return head + Bar(fraction, std::min(room, kMostBarColumns)) + tail;
}

std::string TimeText(absl::Duration duration) {
  const double seconds = absl::ToDoubleSeconds(duration);
  if (!(seconds >= 0) || seconds > 1e9) return "?";
  if (seconds < 60) return absl::StrFormat("%.0f s", std::ceil(seconds));
  const int64_t minutes = static_cast<int64_t>(std::ceil(seconds / 60));
  if (minutes < 60) return absl::StrCat(minutes, " min");
  return absl::StrCat(minutes / 60, " h ", minutes % 60, " min");
}

std::string BytesText(int64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (value >= 1e9) return absl::StrFormat("%.1f GB", value * 1e-9);
  if (value >= 1e6) return absl::StrFormat("%.1f MB", value * 1e-6);
  if (value >= 1e3) return absl::StrFormat("%.1f kB", value * 1e-3);
  return absl::StrCat(bytes, " B");
}

}  // namespace denoise
