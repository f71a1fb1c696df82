#include "core/nn/weight_reader.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"

namespace denoise::nn {
namespace {

constexpr size_t kMaxProblemsNamed = 20;

std::string ShapeText(at::IntArrayRef shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

at::IntArrayRef WithoutTrailingOnes(at::IntArrayRef shape) {
  while (shape.size() > 1 && shape.back() == 1) shape = shape.slice(0, shape.size() - 1);
  return shape;
}

}  // namespace

WeightReader::WeightReader(const StateDict& weights, at::Device device, at::ScalarType dtype,
                           Storage storage)
    : weights_(weights), device_(device), dtype_(dtype), storage_(storage) {}

at::Tensor WeightReader::Take(const std::vector<std::string>& names, at::IntArrayRef shape,
                              Initial /*initial*/) {
  for (const std::string& name : names) {
    const auto found = weights_.find(name);
    if (found == weights_.end()) continue;
    used_.insert(name);
    const at::Tensor& tensor = found->second;
    if (!tensor.defined() || !at::isFloatingType(tensor.scalar_type())) {
      problems_.push_back({name, "is not a floating-point tensor"});
      return {};
    }
    if (WithoutTrailingOnes(tensor.sizes()) != WithoutTrailingOnes(shape)) {
      problems_.push_back({name, absl::StrCat("has shape ", ShapeText(tensor.sizes()),
                                              ", expected ", ShapeText(shape))});
      return {};
    }
    return taken_[names.front()] = tensor.reshape(shape).to(
               at::TensorOptions().device(device_).dtype(dtype_),
               /*non_blocking=*/false, storage_ == Storage::kCopied, at::MemoryFormat::Contiguous);
  }
  problems_.push_back({names.front(), absl::StrCat("is missing, expected ", ShapeText(shape))});
  return {};
}

void WeightReader::Ignore(const std::string& name) { used_.insert(name); }

absl::Status WeightReader::Finish() const {
  std::vector<Problem> problems = problems_;
  for (const auto& [name, tensor] : weights_) {
    if (!used_.contains(name)) {
      problems.push_back({Escaped(name), "is unexpected"});
    }
  }
  FieldViolations violations;
  for (size_t i = 0; i < problems.size() && i < kMaxProblemsNamed; ++i) {
    violations.Add(problems[i].name, problems[i].description);
  }
  if (problems.size() > kMaxProblemsNamed) {
    violations.Add("...",
                   absl::StrCat("and ", problems.size() - kMaxProblemsNamed, " more tensors"));
  }
  return violations.ToStatus();
}

}  // namespace denoise::nn
