#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/io/safetensors.h"
#include "core/io/safetensors_dtype.h"

namespace denoise {

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::filesystem::path& path,
                                                      size_t bytes_max) {
  ASSIGN_OR_RETURN(std::shared_ptr<const FileContent> file, FileContent::Read(path, bytes_max));
  ASSIGN_OR_RETURN(SafetensorsHeader header, ParseSafetensorsHeader(file->bytes()));
  return SafetensorsFile(std::move(file), std::move(header));
}

absl::StatusOr<at::Tensor> SafetensorsFile::Get(const std::string& name) const {
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
  const char* data = bytes().data() + header_.data_offset + entry.begin;
  if (entry.begin == entry.end || reinterpret_cast<uintptr_t>(data) % dtype.size != 0) {
    at::Tensor copy = at::empty(entry.shape, *dtype.weights);
    if (entry.begin != entry.end) std::memcpy(copy.data_ptr(), data, entry.end - entry.begin);
    return copy;
  }
  return at::from_blob(
      const_cast<char*>(data), entry.shape, [file = file_](void*) mutable { file.reset(); },
      *dtype.weights);
}

}  // namespace denoise
