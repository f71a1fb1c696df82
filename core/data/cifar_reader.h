// Reads the binary version of CIFAR-10 (Krizhevsky 2009). Internal to core/data.
#pragma once

#include <memory>
#include <utility>

#include "core/data/upload_reader.h"

namespace denoise {

class CifarReader : public UploadReader {
 public:
  explicit CifarReader(std::unique_ptr<ByteSource> records) : records_(std::move(records)) {}

  absl::StatusOr<std::optional<UploadEntry>> Next() override;

 private:
  const std::unique_ptr<ByteSource> records_;
  int64_t next_ = 0;
};

}  // namespace denoise
