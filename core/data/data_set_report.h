// Statistics about the pictures of a data set, to look at before training on it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

// Files are named as in the upload; invalid names are escaped.
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
  std::vector<Class> classes;  // by label; empty if there are none
  std::vector<Size> sizes;     // most frequent first
  int64_t distinct_sizes = 0;
  std::map<int, int64_t> pictures_by_channels;  // 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA
  // Red, green and blue over all pixels, blended over white, in [-1, 1]. Empty without pictures.
  std::vector<Channel> channel_statistics;
  int64_t near_duplicates = 0;
  std::vector<NearDuplicate> near_duplicate_examples;
  int64_t unreadable_files = 0;
  std::vector<UnreadableFile> unreadable_examples;
  std::string contact_sheet;  // PNG; empty without pictures

  // The ratio of the largest class to the smallest, in pictures; 0 without classes.
  double ClassImbalance() const;

  bool operator==(const DataSetReport&) const = default;
};

// For storing beside the data.
std::string DataSetReportToJson(const DataSetReport& report);

// Parses what DataSetReportToJson wrote. InvalidArgument lists the violations by key.
absl::StatusOr<DataSetReport> ParseDataSetReport(std::string_view json);

}  // namespace denoise
