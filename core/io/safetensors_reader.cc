#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/io/safetensors.h"
#include "core/io/safetensors_dtype.h"

namespace denoise {
namespace {

constexpr int64_t kPieceNumbers = int64_t{1} << 18;
constexpr size_t kHashedBytes = size_t{1} << 20;
// Enough for the headers of most files, and to see what another kind of file is.
constexpr size_t kBeginningBytes = size_t{1} << 18;

class FileSource final : public TensorSource {
 public:
  FileSource(std::shared_ptr<const OpenFile> file, size_t offset, at::ScalarType dtype)
      : file_(std::move(file)), offset_(offset), dtype_(dtype) {}

  absl::Status Read(int64_t first, int64_t count, const Take& take) const override {
    const at::Tensor buffer = at::empty({std::min(count, kPieceNumbers)}, dtype_);
    const size_t size = buffer.element_size();
    for (int64_t done = 0; done < count;) {
      const at::Tensor piece = buffer.narrow(0, 0, std::min(kPieceNumbers, count - done));
      RETURN_IF_ERROR(file_->Read(offset_ + static_cast<size_t>(first + done) * size,
                                  static_cast<size_t>(piece.numel()) * size,
                                  static_cast<char*>(piece.data_ptr())));
      take(piece);
      done += piece.numel();
    }
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<const OpenFile> file_;
  const size_t offset_;
  const at::ScalarType dtype_;
};

// At least the header, if there is one.
absl::StatusOr<std::string> ReadBeginning(const OpenFile& file) {
  std::string bytes(std::min(file.size(), kBeginningBytes), '\0');
  RETURN_IF_ERROR(file.Read(0, bytes.size(), bytes.data()));
  const size_t had = bytes.size(), end = SafetensorsHeaderEnd(bytes, file.size());
  if (end <= had) return bytes;
  bytes.resize(end);
  RETURN_IF_ERROR(file.Read(had, end - had, bytes.data() + had));
  return bytes;
}

}  // namespace

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::filesystem::path& path,
                                                      size_t bytes_max) {
  ASSIGN_OR_RETURN(std::shared_ptr<const OpenFile> file, OpenFile::Open(path, bytes_max));
  ASSIGN_OR_RETURN(const std::string beginning, ReadBeginning(*file));
  ASSIGN_OR_RETURN(SafetensorsHeader header, ParseSafetensorsHeader(beginning, file->size()));
  return SafetensorsFile(std::move(file), std::move(header));
}

absl::StatusOr<StoredTensor> SafetensorsFile::Find(const std::string& name) const {
  const auto found = header_.tensors.find(name);
  if (found == header_.tensors.end())
    return absl::NotFoundError(absl::StrCat("no tensor ", Quoted(name)));
  const SafetensorsHeader::Entry& entry = found->second;
  const SafetensorsDtype& dtype = *FindDtype(entry.dtype);
  if (!dtype.weights) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", Quoted(name), " is of dtype ",
                                                   entry.dtype,
                                                   "; weights are F64, F32, F16 or BF16"));
  }
  return StoredTensor(
      *dtype.weights, entry.shape,
      std::make_shared<const FileSource>(file_, header_.data_offset + entry.begin, *dtype.weights));
}

absl::StatusOr<at::Tensor> SafetensorsFile::Get(const std::string& name) const {
  ASSIGN_OR_RETURN(const StoredTensor tensor, Find(name));
  return tensor.Get();
}

absl::StatusOr<double> SafetensorsFile::GetNumber(const std::string& name) const {
  const auto found = header_.tensors.find(name);
  if (found == header_.tensors.end())
    return absl::NotFoundError(absl::StrCat("no tensor ", Quoted(name)));
  const SafetensorsHeader::Entry& entry = found->second;
  const SafetensorsDtype& dtype = *FindDtype(entry.dtype);
  const std::optional<at::ScalarType> type = dtype.weights ? dtype.weights : dtype.integer;
  if (!type || entry.end - entry.begin != dtype.size) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", Quoted(name), " is not one number"));
  }
  double number = 0;
  const FileSource source(file_, header_.data_offset + entry.begin, *type);
  RETURN_IF_ERROR(source.Read(
      0, 1, [&](const at::Tensor& piece) { number = piece.to(at::kDouble).item<double>(); }));
  return number;
}

absl::Status SafetensorsFile::AddTo(Sha256& hash, std::string_view name) const {
  hash.BeginPart(name, size());
  std::string buffer(std::min(size(), kHashedBytes), '\0');
  for (size_t done = 0; done < size();) {
    const size_t count = std::min(buffer.size(), size() - done);
    RETURN_IF_ERROR(file_->Read(done, count, buffer.data()));
    hash.Update(std::string_view(buffer).substr(0, count));
    done += count;
  }
  return absl::OkStatus();
}

}  // namespace denoise
