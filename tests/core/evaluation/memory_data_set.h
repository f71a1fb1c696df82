// A data set in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/data/data_set.h"

namespace denoise {

class MemoryDataSet : public DataSet {
 public:
  std::vector<Image> pictures;
  std::vector<std::string> class_names;
  std::vector<int64_t> labels;
  std::function<absl::Status(int64_t)> on_read = [](int64_t) { return absl::OkStatus(); };

  int64_t size() const override { return static_cast<int64_t>(pictures.size()); }
  const std::vector<std::string>& classes() const override { return class_names; }
  int64_t label(int64_t i) const override { return labels.empty() ? 0 : labels[i]; }
  std::string name(int64_t i) const override { return std::to_string(i); }
  absl::StatusOr<Image> Read(int64_t i) const override {
    const absl::Status status = on_read(i);
    if (!status.ok()) return status;
    return pictures[i];
  }
};

}  // namespace denoise
