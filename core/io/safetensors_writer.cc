#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
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

struct Item {
  std::string name;
  at::Tensor tensor;  // contiguous, on the CPU
  const SafetensorsDtype* dtype;

  size_t bytes() const { return static_cast<size_t>(tensor.numel()) * dtype->size; }
  std::string_view data() const { return {static_cast<const char*>(tensor.data_ptr()), bytes()}; }
};

// In the order of their data: larger elements first keeps all of them aligned.
absl::StatusOr<std::vector<Item>> Arrange(const std::map<std::string, at::Tensor>& tensors) {
  std::vector<Item> items;
  for (const auto& [name, tensor] : tensors) {
    if (name == kMetadataKey)
      return absl::InvalidArgumentError("no tensor may be named __metadata__");
    if (!tensor.defined()) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", Quoted(name), " is undefined"));
    }
    const SafetensorsDtype* dtype = FindDtype(tensor.scalar_type());
    if (dtype == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Quoted(name), " is not of dtype F64, F32, F16 or BF16"));
    }
    items.push_back({name, tensor.to(at::kCPU).contiguous(), dtype});
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
                         {"shape", item.tensor.sizes().vec()},
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

}  // namespace

absl::Status WriteSafetensors(const fs::path& path,
                              const std::map<std::string, at::Tensor>& tensors,
                              const std::map<std::string, std::string>& metadata) {
  ASSIGN_OR_RETURN(const std::vector<Item> items, Arrange(tensors));
  ASSIGN_OR_RETURN(const std::string head, Head(items, metadata));
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  RETURN_IF_ERROR(file.Append(head));
  for (const Item& item : items) RETURN_IF_ERROR(file.Append(item.data()));
  return file.Commit();
}

}  // namespace denoise
