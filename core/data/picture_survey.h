// What a report says of the pictures themselves, gathered one by one. Internal to core/data.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "core/data/data_set_report.h"
#include "core/image/image.h"

namespace denoise {

// Takes 16 bytes a picture. Not thread-safe.
class PictureSurvey {
 public:
  void Add(const Image& image);

  int64_t pictures() const { return static_cast<int64_t>(hashes_.size()); }
  int64_t total_pixels() const { return total_pixels_; }
  const std::vector<uint64_t>& difference_hashes() const { return hashes_; }

  // Sizes, channels and their statistics.
  void Describe(DataSetReport& report) const;

  // Width and height that most pictures have; of several, the smallest. There is a picture.
  DataSetReport::Size MostFrequentSize() const;

 private:
  struct PackedSize {
    int32_t width;
    int32_t height;
    auto operator<=>(const PackedSize&) const = default;
  };

  // The most frequent first.
  std::vector<DataSetReport::Size> CountSizes() const;

  std::vector<PackedSize> sizes_;
  std::vector<uint64_t> hashes_;
  std::map<int, int64_t> pictures_by_channels_;
  std::array<std::array<int64_t, 256>, 3> histograms_ = {};  // of red, green and blue
  int64_t total_pixels_ = 0;
};

}  // namespace denoise
