// The part of a data set's report about the pictures themselves: statistics, and a sheet of
// samples. Internal to core/data.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/data_set.h"
#include "core/data/data_set_report.h"
#include "core/image/image.h"

namespace denoise {

// Collects statistics picture by picture, in 16 bytes for each. Not thread-safe.
class PictureSurvey {
 public:
  void Add(const Image& image);

  int64_t pictures() const { return static_cast<int64_t>(hashes_.size()); }
  int64_t total_pixels() const { return total_pixels_; }
  const std::vector<uint64_t>& difference_hashes() const { return hashes_; }

  // Sizes, channels and their statistics.
  void Describe(DataSetReport& report) const;

  // The size that most pictures have; on a tie the smallest. Requires at least one picture.
  DataSetReport::Size MostFrequentSize() const;

 private:
  struct PackedSize {
    int32_t width;
    int32_t height;
    auto operator<=>(const PackedSize&) const = default;
  };

  // Most frequent first.
  std::vector<DataSetReport::Size> CountSizes() const;

  std::vector<PackedSize> sizes_;
  std::vector<uint64_t> hashes_;
  std::map<int, int64_t> pictures_by_channels_;
  std::array<std::array<int64_t, 256>, 3> histograms_ = {};  // of red, green and blue
  int64_t total_pixels_ = 0;
};

// Renders a PNG of up to 64 pictures, the same number per class where possible, spread over each
// class, in the order of the classes. Cells have `size`, scaled down if a side has more than 96
// pixels. Requires a data set with pictures. An error of `check_cancelled`, which is called before
// each picture, ends it.
absl::StatusOr<std::string> SampleSheet(const DataSet& data_set, const DataSetReport::Size& size,
                                        const std::function<absl::Status()>& check_cancelled);

}  // namespace denoise
