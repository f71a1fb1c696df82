// Columns of text.
#pragma once

#include <string>
#include <vector>

namespace denoise {

// Rows of the same length, the first of which names the columns; each column as wide as its widest
// text, the last one ragged. Without a newline at the end.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows);

}  // namespace denoise
