// A look at the pictures of a data set before anything is trained on them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

// Files are named as in the upload, or escaped where their names were not valid.
struct DataSetReport {
  struct Class {
    std::string name;
    int64_t pictures = 0;
    bool operator==(const Class&) const = default;
  };
  struct Size {
    int width = 0;
    int height = 0;
    int64_t pictures = 0;
    bool operator==(const Size&) const = default;
  };
  struct Channel {
    double mean = 0;
    double standard_deviation = 0;
    bool operator==(const Channel&) const = default;
  };
  struct NearDuplicate {
    std::string file;
    std::string other_file;
    int hamming_distance = 0;
    bool operator==(const NearDuplicate&) const = default;
  };
  struct UnreadableFile {
    std::string file;
    std::string reason;
    bool operator==(const UnreadableFile&) const = default;
  };

  static constexpr size_t kMaxExamples = 20;  // of sizes, near-duplicates, unreadable files
  static constexpr size_t kMaxSheetPictures = 64;

  int64_t pictures = 0;
  std::vector<Class> classes;  // by label; empty: there are none
  std::vector<Size> sizes;     // the most frequent first
  int64_t distinct_sizes = 0;
  std::map<int, int64_t> pictures_by_channels;  // 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA
  // Red, green and blue over all pixels, alpha laid over white, in [-1, 1]; empty: no pictures.
  std::vector<Channel> channel_statistics;
  int64_t near_duplicates = 0;
  std::vector<NearDuplicate> near_duplicate_examples;
  int64_t unreadable_files = 0;
  std::vector<UnreadableFile> unreadable_examples;
  std::string contact_sheet;  // PNG; empty: no pictures

  // The largest class over the smallest, in pictures; 0 where there are no classes.
  double ClassImbalance() const;

  bool operator==(const DataSetReport&) const = default;
};

// To be kept beside the data.
std::string DataSetReportToJson(const DataSetReport& report);

// The other way round. InvalidArgument says what is wrong, key by key.
absl::StatusOr<DataSetReport> ParseDataSetReport(std::string_view json);

}  // namespace denoise
