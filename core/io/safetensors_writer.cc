#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/io/file_descriptor.h"
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

// A new file beside its goal; removed again unless it was moved there.
class TemporaryFile {
 public:
  explicit TemporaryFile(const fs::path& goal) : goal_(goal), path_(goal) {
    static std::atomic<int> counter = 0;
    path_ += absl::StrCat(".", getpid(), ".", counter++, ".tmp");
  }
  ~TemporaryFile() {
    if (!path_.empty()) unlink(path_.c_str());
  }

  absl::Status Create() {
    file_ = FileDescriptor(open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (file_.get() >= 0) return absl::OkStatus();
    const int error = errno;
    path_.clear();  // not ours
    return absl::ErrnoToStatus(error, "cannot create the file");
  }

  absl::Status Append(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = write(file_.get(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return absl::ErrnoToStatus(errno, "cannot write the file");
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }

  // Durable: the content first, then the name, then the folder that holds it.
  absl::Status MoveToGoal() {
    if (fsync(file_.get()) != 0) return absl::ErrnoToStatus(errno, "cannot write the file");
    if (std::rename(path_.c_str(), goal_.c_str()) != 0) {
      return absl::ErrnoToStatus(errno, "cannot replace the file");
    }
    path_.clear();
    const fs::path parent = goal_.has_parent_path() ? goal_.parent_path() : fs::path(".");
    const FileDescriptor folder(open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.get() < 0 || fsync(folder.get()) != 0) {
      return absl::ErrnoToStatus(errno, "cannot write the folder");
    }
    return absl::OkStatus();
  }

 private:
  const fs::path goal_;
  fs::path path_;  // empty once there is nothing to remove
  FileDescriptor file_{-1};
};

}  // namespace

absl::Status WriteSafetensors(const fs::path& path,
                              const std::map<std::string, at::Tensor>& tensors,
                              const std::map<std::string, std::string>& metadata) {
  ASSIGN_OR_RETURN(const std::vector<Item> items, Arrange(tensors));
  ASSIGN_OR_RETURN(const std::string head, Head(items, metadata));
  TemporaryFile file(path);
  RETURN_IF_ERROR(file.Create());
  RETURN_IF_ERROR(file.Append(head));
  for (const Item& item : items) RETURN_IF_ERROR(file.Append(item.data()));
  return file.MoveToGoal();
}

}  // namespace denoise
