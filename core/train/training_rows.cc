#include "core/train/training_rows.h"

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

bool Has(const at::Tensor& tensor, at::ScalarType dtype, at::IntArrayRef shape) {
  return tensor.defined() && tensor.scalar_type() == dtype && tensor.sizes() == shape;
}

}  // namespace

absl::Status CheckRows(const TrainingRows& rows, int64_t count, const NetworkSpec& spec) {
  if (!Has(rows.x0, at::kFloat, {count, spec.in_channels, spec.height, spec.width})) {
    return absl::InvalidArgumentError("the pictures do not have the shape of the network's input");
  }
  if (spec.num_class_embeds == 0) return absl::OkStatus();
  if (!Has(rows.class_labels, at::kLong, {count})) {
    return absl::InvalidArgumentError("the network needs a class for each picture");
  }
  const int64_t* labels = rows.class_labels.data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    if (labels[i] < 0 || labels[i] >= spec.num_class_embeds) {
      return absl::InvalidArgumentError(absl::StrCat("a picture is of class ", labels[i],
                                                     ", the network has ", spec.num_class_embeds));
    }
  }
  return absl::OkStatus();
}

}  // namespace denoise
