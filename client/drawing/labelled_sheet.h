// Pictures in a grid whose rows and columns say what they are.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/image/image.h"

namespace denoise {

struct LabelledSheet {
  std::string title;
  std::vector<std::string> rows;  // a label each, which may be empty; likewise the columns
  std::vector<std::string> columns;
  std::vector<Image> cells;  // rows * columns, row by row, of one size
};

// A PNG. Small pictures are enlarged by a whole factor, so that they can be seen. InvalidArgument
// unless there is a cell for every row and column, there is one, all have one size and the sheet is
// of reasonable size.
absl::StatusOr<std::string> DrawLabelledSheet(const LabelledSheet& sheet);

}  // namespace denoise
