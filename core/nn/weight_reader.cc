#include "core/nn/weight_reader.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"

namespace denoise::nn {
namespace {

constexpr size_t kMaxProblemsNamed = 20;
// How many parts of a name may stand before the one that the network knows.
constexpr int kMaxPrefixParts = 4;

std::string ShapeText(at::IntArrayRef shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

at::IntArrayRef WithoutTrailingOnes(at::IntArrayRef shape) {
  while (shape.size() > 1 && shape.back() == 1) shape = shape.slice(0, shape.size() - 1);
  return shape;
}

}  // namespace

WeightReader::WeightReader(const NamedTensors& weights, at::Device device, at::ScalarType dtype,
                           Storage storage)
    : weights_(weights), device_(device), dtype_(dtype), storage_(storage) {}

at::Tensor WeightReader::Take(const std::vector<std::string>& names, at::IntArrayRef shape,
                              Initial /*initial*/) {
  const auto found = std::find_if(names.begin(), names.end(), [this](const std::string& name) {
    return weights_.contains(name);
  });
  if (found == names.end()) {
    missing_.push_back(names.front());
    problems_.push_back({names.front(), absl::StrCat("is missing, expected ", ShapeText(shape))});
    return {};
  }
  const std::string& name = *found;
  used_.insert(name);
  return weights_.Visit([&](const auto& tensors) -> at::Tensor {
    const auto& tensor = tensors.at(name);
    if (!tensor.defined() || !at::isFloatingType(tensor.scalar_type())) {
      problems_.push_back({name, "is not a floating-point tensor"});
      return {};
    }
    if (WithoutTrailingOnes(tensor.sizes()) != WithoutTrailingOnes(shape)) {
      problems_.push_back({name, absl::StrCat("has shape ", ShapeText(tensor.sizes()),
                                              ", expected ", ShapeText(shape))});
      return {};
    }
    const at::Tensor converted = Converted(tensor, name, shape);
    if (converted.defined()) taken_[names.front()] = converted;
    return converted;
  });
}

at::Tensor WeightReader::Converted(const at::Tensor& tensor, const std::string& /*name*/,
                                   at::IntArrayRef shape) {
  // A tensor packed for oneDNN has to be unpacked first.
  const at::Tensor plain = tensor.is_mkldnn() ? tensor.to_dense() : tensor;
  return plain.reshape(shape).to(at::TensorOptions().device(device_).dtype(dtype_),
                                 /*non_blocking=*/false, storage_ == Storage::kCopied,
                                 at::MemoryFormat::Contiguous);
}

at::Tensor WeightReader::Converted(const StoredTensor& tensor, const std::string& name,
                                   at::IntArrayRef shape) {
  if (!problems_.empty() || !read_.ok()) return {};
  absl::StatusOr<StoredTensor::Loaded> loaded = tensor.Load(device_, dtype_);
  if (!loaded.ok()) {
    read_ = loaded.status();
    return {};
  }
  if (loaded->num_not_finite > 0) {
    not_finite_.push_back(
        {Escaped(name), DescribeNotFinite(loaded->num_not_finite, tensor.numel())});
  }
  return loaded->tensor.view(shape);
}

void WeightReader::Ignore(const std::string& name) { used_.insert(name); }

void WeightReader::Replace(const std::string& name, const at::Tensor& tensor) {
  taken_[name] = tensor;
}

void WeightReader::ReportPrefix(FieldViolations& violations) const {
  const std::set<std::string> missing(missing_.begin(), missing_.end());
  std::map<std::string, size_t> count;  // by prefix
  weights_.Visit([&](const auto& tensors) {
    for (const auto& [name, tensor] : tensors) {
      if (used_.contains(name)) continue;
      size_t dot = name.find('.');
      for (int i = 0; i < kMaxPrefixParts && dot != std::string::npos; ++i) {
        if (missing.contains(name.substr(dot + 1))) ++count[name.substr(0, dot + 1)];
        dot = name.find('.', dot + 1);
      }
    }
  });
  const auto best = std::max_element(
      count.begin(), count.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (best == count.end()) return;
  violations.Add(Escaped(best->first),
                 absl::StrCat("stands before ", best->second, " of the ", missing_.size(),
                              " names that are missing. Remove it from the names, and take out "
                              "the tensors that do not belong to the network"));
}

absl::Status WeightReader::Finish() const {
  RETURN_IF_ERROR(CheckNames());
  RETURN_IF_ERROR(read_);
  return CheckFinite();
}

absl::Status WeightReader::CheckFinite() const {
  std::map<std::string, std::string> by_name;
  for (const Problem& problem : not_finite_) by_name[problem.name] = problem.description;
  FieldViolations violations;
  for (const auto& [name, description] : by_name) {
    if (violations.violations().size() < kMaxProblemsNamed) violations.Add(name, description);
  }
  return violations.ToStatus();
}

absl::Status WeightReader::CheckNames() const {
  std::vector<Problem> unexpected;
  weights_.Visit([&](const auto& tensors) {
    for (const auto& [name, tensor] : tensors) {
      if (!used_.contains(name)) unexpected.push_back({Escaped(name), "is unexpected"});
    }
  });
  FieldViolations violations;
  ReportPrefix(violations);
  // Both kinds are shown, since one often explains the other.
  const size_t least = kMaxProblemsNamed / 2;
  const size_t of_problems =
      std::min(problems_.size(), kMaxProblemsNamed - std::min(unexpected.size(), least));
  const size_t of_unexpected = std::min(unexpected.size(), kMaxProblemsNamed - of_problems);
  for (size_t i = 0; i < of_problems; ++i) {
    violations.Add(problems_[i].name, problems_[i].description);
  }
  for (size_t i = 0; i < of_unexpected; ++i) {
    violations.Add(unexpected[i].name, unexpected[i].description);
  }
  const size_t left = problems_.size() + unexpected.size() - of_problems - of_unexpected;
  if (left > 0) violations.Add("...", absl::StrCat("and ", left, " more tensors"));
  return violations.ToStatus();
}

}  // namespace denoise::nn
