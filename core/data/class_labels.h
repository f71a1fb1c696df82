// Matches the classes of a data set to those of a model. No LibTorch.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/data_set.h"

namespace denoise {

// A class-conditional model's labels.
struct ModelClasses {
  int64_t count = 0;                        // labels, including the null class
  std::map<int64_t, std::string> names;     // of some labels, of all, or of none
  std::optional<int64_t> null_class_label;  // stands for "no class"
};

// The model's label for each class of the data set. If the model names all its classes, they are
// matched by name, and the data set may have only some of them, in any order. Otherwise label i
// stays label i; the numbers of classes must agree and names must not differ. InvalidArgument says
// which class does not match.
absl::StatusOr<std::vector<int64_t>> MatchClasses(const std::vector<std::string>& classes,
                                                  const ModelClasses& model);

// `data_set` with label i replaced by labels[i]. Returns `data_set` itself if nothing changes.
std::shared_ptr<const DataSet> Relabelled(std::shared_ptr<const DataSet> data_set,
                                          std::vector<int64_t> labels);

}  // namespace denoise
