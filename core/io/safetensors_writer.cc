#include <c10/util/accumulate.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/files/atomic_file.h"
#include "core/io/safetensors.h"
#include "core/io/safetensors_dtype.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr size_t kAlignment = 8;
constexpr char kMetadataKey[] = "__metadata__";

using TensorSpec = SafetensorsWriter::TensorSpec;

struct Item {
  std::string name;
  TensorSpec spec;
  const SafetensorsDtype* dtype;

  size_t bytes() const {
    return static_cast<size_t>(c10::multiply_integers(spec.shape)) * dtype->size;
  }
};

// In the order of their data: larger elements first keeps all of them aligned.
absl::StatusOr<std::vector<Item>> Arrange(const std::map<std::string, TensorSpec>& tensors) {
  std::vector<Item> items;
  for (const auto& [name, spec] : tensors) {
    if (name == kMetadataKey)
      return absl::InvalidArgumentError("no tensor may be named __metadata__");
    const SafetensorsDtype* dtype = FindDtype(spec.dtype);
    if (dtype == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Quoted(name), " is not of dtype F64, F32, F16 or BF16"));
    }
    items.push_back({name, spec, dtype});
  }
  std::stable_sort(items.begin(), items.end(),
                   [](const Item& a, const Item& b) { return a.dtype->size > b.dtype->size; });
  return items;
}

// The size of the header, and the header padded with spaces so that the data begins aligned.
absl::StatusOr<std::string> Head(const std::vector<Item>& items,
                                 const std::map<std::string, std::string>& metadata) {
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  size_t offset = 0;
  for (const Item& item : items) {
    header[item.name] = {{"dtype", item.dtype->name},
                         {"shape", item.spec.shape},
                         {"data_offsets", {offset, offset + item.bytes()}}};
    offset += item.bytes();
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    return absl::InvalidArgumentError("a name or the metadata is not valid UTF-8");
  }
  text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  std::string head;
  for (size_t i = 0; i < kAlignment; ++i) head += static_cast<char>(text.size() >> (8 * i));
  return head + text;
}

absl::StatusOr<std::map<std::string, TensorSpec>> SpecsOf(
    const std::map<std::string, at::Tensor>& tensors) {
  std::map<std::string, TensorSpec> specs;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", Quoted(name), " is undefined"));
    }
    specs[name] = {tensor.scalar_type(), tensor.sizes().vec()};
  }
  return specs;
}

}  // namespace

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Create(
    const fs::path& path, const std::map<std::string, TensorSpec>& tensors,
    const std::map<std::string, std::string>& metadata) {
  ASSIGN_OR_RETURN(const std::vector<Item> items, Arrange(tensors));
  ASSIGN_OR_RETURN(const std::string head, Head(items, metadata));
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  RETURN_IF_ERROR(file.Append(head));
  std::vector<std::string> order;
  std::vector<TensorSpec> specs;
  for (const Item& item : items) {
    order.push_back(item.name);
    specs.push_back(item.spec);
  }
  return SafetensorsWriter(std::move(order), std::move(specs), std::move(file));
}

absl::Status SafetensorsWriter::Append(const at::Tensor& tensor) {
  DENOISE_DCHECK(appended_ < specs_.size());
  const TensorSpec& spec = specs_[appended_++];
  DENOISE_DCHECK(tensor.scalar_type() == spec.dtype && tensor.sizes() == spec.shape);
  const at::Tensor data = tensor.to(at::kCPU).contiguous();
  return file_.Append({static_cast<const char*>(data.data_ptr()), data.nbytes()});
}

absl::Status SafetensorsWriter::Commit() {
  DENOISE_DCHECK(appended_ == specs_.size());
  return file_.Commit();
}

absl::Status WriteSafetensors(const fs::path& path,
                              const std::map<std::string, at::Tensor>& tensors,
                              const std::map<std::string, std::string>& metadata) {
  ASSIGN_OR_RETURN(const auto specs, SpecsOf(tensors));
  ASSIGN_OR_RETURN(SafetensorsWriter writer, SafetensorsWriter::Create(path, specs, metadata));
  for (const std::string& name : writer.order()) {
    RETURN_IF_ERROR(writer.Append(tensors.at(name)));
  }
  return writer.Commit();
}

}  // namespace denoise
