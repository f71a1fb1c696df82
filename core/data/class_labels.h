// Which of a model's classes the classes of a data set are. No LibTorch.
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

// What a class-conditional model says of its labels.
struct ModelClasses {
  int64_t count = 0;                        // labels, that which stands for none among them
  std::map<int64_t, std::string> names;     // may lack labels, or all of them
  std::optional<int64_t> null_class_label;  // stands for none
};

// The model's label of each class of the data set. Where the model names all its classes they are
// matched by name, and a data set may hold some of them only, in any order. Where it does not, label
// i is label i, there must be as many, and none may have another name. InvalidArgument says which.
absl::StatusOr<std::vector<int64_t>> MatchClasses(const std::vector<std::string>& classes,
                                                  const ModelClasses& model);

// `data_set` with labels[i] in place of label i, and the model's names of them. Where the data set
// has no classes, or its labels are the model's, that is `data_set` itself.
std::shared_ptr<const DataSet> Relabelled(std::shared_ptr<const DataSet> data_set,
                                          std::vector<int64_t> labels);

}  // namespace denoise
