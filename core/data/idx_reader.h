// Reads the IDX files of MNIST (LeCun et al. 1998) and of what followed its format. Internal to
// core/data.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/data/upload_reader.h"

namespace denoise {

class IdxReader : public UploadReader {
 public:
  // `open` gives the files, pictures first, without compression. The labels, which come last, are
  // read once before everything else: one byte a picture.
  static absl::StatusOr<std::unique_ptr<IdxReader>> Open(const OpenBytes& open,
                                                         const UploadLimits& limits);

  absl::StatusOr<std::optional<UploadEntry>> Next() override;

 private:
  struct Shape {
    int64_t pictures;
    int height;
    int width;
  };

  IdxReader(std::unique_ptr<ByteSource> source, const Shape& shape, std::string labels);

  static absl::StatusOr<Shape> ReadShape(ByteSource& source, const UploadLimits& limits);
  // Behind the pictures: a label for each, or nothing at all.
  static absl::StatusOr<std::string> ReadLabels(ByteSource& source, int64_t pictures);

  const std::unique_ptr<ByteSource> source_;
  const Shape shape_;
  const std::string labels_;
  const int label_digits_;  // so many that names sort as the labels do
  int64_t next_ = 0;
};

}  // namespace denoise
