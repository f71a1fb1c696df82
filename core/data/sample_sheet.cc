#include "core/data/sample_sheet.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/image/image.h"

namespace denoise {
namespace {

constexpr int kColumns = 8;
constexpr int kPadding = 2;

// A sheet of 64 cells of noise then has less than 2 MB, which fits into a message.
constexpr int kMaxSide = 96;

// Picture k of n out of `all`, evenly spaced.
int64_t Evenly(int64_t k, int64_t n, int64_t all) { return k * all / n; }

std::vector<int64_t> Choose(const DataSet& data_set) {
  std::vector<std::vector<int64_t>> by_label(std::max<size_t>(1, data_set.classes().size()));
  for (int64_t i = 0; i < data_set.size(); ++i) {
    by_label[static_cast<size_t>(data_set.label(i))].push_back(i);
  }
  const auto room = static_cast<int64_t>(DataSetReport::kMaxSheetPictures);
  const auto labels = static_cast<int64_t>(by_label.size());
  const int64_t shown_labels = std::min(labels, room);
  std::vector<int64_t> chosen;
  for (int64_t k = 0; k < shown_labels; ++k) {
    const auto& pictures = by_label[static_cast<size_t>(Evenly(k, shown_labels, labels))];
    const auto all = static_cast<int64_t>(pictures.size());
    const int64_t count = std::min(all, room / shown_labels);
    for (int64_t j = 0; j < count; ++j) {
      chosen.push_back(pictures[static_cast<size_t>(Evenly(j, count, all))]);
    }
  }
  return chosen;
}

int Scaled(int side, int longer_side) {
  return std::max(1, static_cast<int>(std::lround(1.0 * side * kMaxSide / longer_side)));
}

}  // namespace

absl::StatusOr<std::string> SampleSheet(const DataSet& data_set, const DataSetReport::Size& size,
                                        const std::function<absl::Status()>& go_on) {
  DENOISE_DCHECK(data_set.size() > 0);
  const int longer_side = std::max(size.width, size.height);
  const bool fits = longer_side <= kMaxSide;
  const int width = fits ? size.width : Scaled(size.width, longer_side);
  const int height = fits ? size.height : Scaled(size.height, longer_side);
  std::vector<Image> cells;
  for (int64_t i : Choose(data_set)) {
    RETURN_IF_ERROR(go_on());
    ASSIGN_OR_RETURN(const Image picture, data_set.Read(i));
    ASSIGN_OR_RETURN(cells.emplace_back(), CropAndResize(Flatten(picture, 3), width, height));
  }
  ASSIGN_OR_RETURN(const Image sheet, ContactSheet(cells, kColumns, kPadding, 1));
  return EncodeImage(sheet, ImageFormat::kPng);
}

}  // namespace denoise
