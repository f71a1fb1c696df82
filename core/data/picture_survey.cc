#include "core/data/picture_survey.h"

#include <algorithm>
#include <cmath>

#include "core/data/near_duplicates.h"

namespace denoise {
namespace {

// Counts are whole numbers, so that nothing is lost however many pixels there are.
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

}  // namespace denoise
