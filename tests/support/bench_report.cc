#include "tests/support/bench_report.h"

#include <algorithm>
#include <cstdio>

#include "core/base/check.h"

namespace denoise {

double Median(std::vector<double> values) {
  DENOISE_DCHECK(!values.empty());
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void PrintTable(const std::string& title, const std::vector<TableRow>& rows, bool markdown) {
  std::printf(markdown ? "\n%s\n\n" : "\n%s\n", title.c_str());
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const TableRow& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t i = 0; i < rows[r].size(); ++i) {
      const int width = static_cast<int>(widths[i]);
      std::printf(markdown ? "| %*s " : "  %*s", i == 0 ? -width : width, rows[r][i].c_str());
    }
    std::printf(markdown ? "|\n" : "\n");
    if (r > 0 || !markdown) continue;
    for (size_t i = 0; i < widths.size(); ++i) {
      std::printf("|%s%s", std::string(widths[i] + 1, '-').c_str(), i == 0 ? "-" : ":");
    }
    std::printf("|\n");
  }
}

}  // namespace denoise
