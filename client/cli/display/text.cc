#include "client/cli/display/text.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace denoise {
namespace {

bool IsContinuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

// The length in bytes of the character at the start of `text`; 0 if it must not be shown. Not a
// full check of UTF-8: it is enough that no byte of it acts as a control character.
size_t ShownLength(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return first >= 0x20 && first != 0x7F ? 1 : 0;
  const size_t length = first >= 0xF8   ? 0
                        : first >= 0xF0 ? 4
                        : first >= 0xE0 ? 3
                        : first >= 0xC2 ? 2
                                        : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation(static_cast<unsigned char>(text[i]))) return 0;
  }
  const bool is_control = first == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0;
  return is_control ? 0 : length;
}

// The number of UTF-8 characters; each takes one column.
size_t Columns(const std::string& text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](unsigned char byte) { return (byte & 0xC0) != 0x80; }));
}

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

std::string Printable(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    size_t length = ShownLength(text);
    if (length > 0) {
      shown += text.substr(0, length);
    } else {
      absl::StrAppendFormat(&shown, "\\x%02x", static_cast<unsigned char>(text[0]));
      length = 1;
    }
    text.remove_prefix(length);
  }
  return shown;
}

std::string FormatTable(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Columns(row[i]));
  }
  std::string table;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      absl::StrAppend(&line, row[i], std::string(widths[i] - Columns(row[i]) + 2, ' '));
    }
    absl::StrAppend(&table, table.empty() ? "" : "\n", line, row.back());
  }
  return table;
}

std::string FormatMarkdownTable(const std::vector<std::vector<std::string>>& rows) {
  std::string table;
  for (const auto& row : rows) {
    absl::StrAppend(&table, table.empty() ? "| " : "\n| ", absl::StrJoin(row, " | "), " |");
    if (&row == &rows.front()) {
      absl::StrAppend(&table, "\n|");
      for (size_t i = 0; i < row.size(); ++i) absl::StrAppend(&table, "---|");
    }
  }
  return table;
}

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

std::string Plural(int64_t count, const std::string& noun) {
  return absl::StrCat(count, " ", noun, count == 1 ? "" : "s");
}

double SecondsOf(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + duration.nanos() * 1e-9;
}

std::string FileLine(const std::string& path, const std::string& what) {
  return path.empty() ? "" : absl::StrFormat("\n  %-32s %s", path, what);
}

}  // namespace denoise
