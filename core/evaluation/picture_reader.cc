#include "core/evaluation/picture_reader.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/image/image.h"

namespace denoise {
namespace {

constexpr std::chrono::milliseconds kMaxWait(5);

absl::StatusOr<std::vector<float>> ReadSamples(const DataSet& data,
                                               std::span<const int64_t> indices,
                                               const PictureShape& shape) {
  std::vector<float> samples;
  for (int64_t index : indices) {
    ASSIGN_OR_RETURN(const Image picture, data.Read(index));
    ASSIGN_OR_RETURN(const Image resized,
                     CropAndResize(Flatten(picture, static_cast<int>(shape.channels)),
                                   static_cast<int>(shape.width), static_cast<int>(shape.height)));
    const std::vector<float> sample = SampleFromImage(resized);
    samples.insert(samples.end(), sample.begin(), sample.end());
  }
  return samples;
}

}  // namespace

PictureReader::PictureReader(std::shared_ptr<const DataSet> data, std::vector<int64_t> indices,
                             PictureShape shape, int64_t batch)
    : data_(std::move(data)), indices_(std::move(indices)), shape_(shape), batch_(batch) {
  ReadAhead();
}

void PictureReader::ReadAhead() {
  if (done()) return;
  const auto batch = std::span(indices_).subspan(taken_, std::min(batch_, size() - taken_));
  ahead_ = std::async(std::launch::async, [data = data_, batch, shape = shape_] {
    return ReadSamples(*data, batch, shape);
  });
}

absl::StatusOr<std::optional<at::Tensor>> PictureReader::Next() {
  DENOISE_DCHECK(!done());
  if (ahead_.wait_for(kMaxWait) != std::future_status::ready) return std::nullopt;
  ASSIGN_OR_RETURN(const std::vector<float> samples, ahead_.get());
  taken_ = std::min(taken_ + batch_, size());
  ReadAhead();
  return at::tensor(samples).view({-1, shape_.channels, shape_.height, shape_.width});
}

}  // namespace denoise
