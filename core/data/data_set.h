// Pictures to train on, with their classes. No LibTorch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/image/image.h"

namespace denoise {

// Immutable and thread-safe: the prefetch threads of a training job read from it concurrently.
class DataSet {
 public:
  virtual ~DataSet() = default;

  virtual int64_t size() const = 0;  // in pictures, all of which have been decoded once
  // The classes' names by label; empty if the pictures have no classes.
  virtual const std::vector<std::string>& classes() const = 0;
  // The label of picture i in [0, size()); 0 without classes.
  virtual int64_t label(int64_t i) const = 0;
  // The name of the file that picture i came from, for people.
  virtual std::string name(int64_t i) const = 0;
  // Picture i as it was uploaded: any size, 1 to 4 channels. DataLoss: the file has been damaged.
  // Unavailable: it cannot be read now.
  virtual absl::StatusOr<Image> Read(int64_t i) const = 0;
};

}  // namespace denoise
