#include "core/data/picture_survey.h"

#include <algorithm>
#include <cmath>

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/data/near_duplicates.h"

namespace denoise {
namespace {

// Counts are integers, so no precision is lost however many pixels there are.
DataSetReport::Channel Statistics(const std::array<int64_t, 256>& histogram, int64_t pixels) {
  const auto sample = [](size_t value) { return static_cast<double>(value) / 127.5 - 1; };
  DataSetReport::Channel channel;
  for (size_t value = 0; value < histogram.size(); ++value) {
    channel.mean += sample(value) * (static_cast<double>(histogram[value]) / pixels);
  }
  double variance = 0;
  for (size_t value = 0; value < histogram.size(); ++value) {
    const double deviation = sample(value) - channel.mean;
    variance += deviation * deviation * (static_cast<double>(histogram[value]) / pixels);
  }
  channel.standard_deviation = std::sqrt(variance);
  return channel;
}

constexpr int kColumns = 8;
constexpr int kPadding = 2;

// Keeps a sheet of 64 cells of noise below 2 MB, so that it fits into a message.
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

void PictureSurvey::Add(const Image& image) {
  sizes_.push_back({image.width, image.height});
  hashes_.push_back(DifferenceHash(image));
  ++pictures_by_channels_[image.channels];
  const Image rgb = Flatten(image, 3);
  for (size_t i = 0; i < rgb.pixels.size(); i += 3) {
    for (size_t c = 0; c < 3; ++c) ++histograms_[c][rgb.pixels[i + c]];
  }
  total_pixels_ += int64_t{image.width} * image.height;
}

void PictureSurvey::Describe(DataSetReport& report) const {
  report.pictures = pictures();
  report.sizes = CountSizes();
  report.distinct_sizes = static_cast<int64_t>(report.sizes.size());
  report.sizes.resize(std::min(report.sizes.size(), DataSetReport::kMaxExamples));
  report.pictures_by_channels = pictures_by_channels_;
  if (total_pixels_ == 0) return;
  for (const auto& histogram : histograms_) {
    report.channel_statistics.push_back(Statistics(histogram, total_pixels_));
  }
}

DataSetReport::Size PictureSurvey::MostFrequentSize() const { return CountSizes().front(); }

std::vector<DataSetReport::Size> PictureSurvey::CountSizes() const {
  std::vector<PackedSize> sorted = sizes_;
  std::sort(sorted.begin(), sorted.end());
  std::vector<DataSetReport::Size> counts;
  for (const PackedSize& size : sorted) {
    if (counts.empty() || counts.back().width != size.width ||
        counts.back().height != size.height) {
      counts.push_back({size.width, size.height, 0});
    }
    ++counts.back().pictures;
  }
  std::stable_sort(counts.begin(), counts.end(),
                   [](const auto& a, const auto& b) { return a.pictures > b.pictures; });
  return counts;
}

absl::StatusOr<std::string> SampleSheet(const DataSet& data_set, const DataSetReport::Size& size,
                                        const std::function<absl::Status()>& check_cancelled) {
  DENOISE_DCHECK(data_set.size() > 0);
  const int longer_side = std::max(size.width, size.height);
  const bool fits = longer_side <= kMaxSide;
  const int width = fits ? size.width : Scaled(size.width, longer_side);
  const int height = fits ? size.height : Scaled(size.height, longer_side);
  std::vector<Image> cells;
  for (int64_t i : Choose(data_set)) {
    RETURN_IF_ERROR(check_cancelled());
    ASSIGN_OR_RETURN(const Image picture, data_set.Read(i));
    ASSIGN_OR_RETURN(cells.emplace_back(), CropAndResize(Flatten(picture, 3), width, height));
  }
  ASSIGN_OR_RETURN(const Image sheet, ContactSheet(cells, kColumns, kPadding, 1));
  return EncodeImage(sheet, ImageFormat::kPng);
}

}  // namespace denoise
