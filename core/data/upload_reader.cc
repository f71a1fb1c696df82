#include "core/data/upload_reader.h"

#include <utility>

#include "core/base/status_macros.h"
#include "core/data/raw_formats.h"
#include "core/data/tar_reader.h"
#include "core/data/unpacked_source.h"
#include "core/data/zip_reader.h"

namespace denoise {

namespace {

absl::StatusOr<bool> IsZip(const OpenBytes& upload) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> source, upload());
  ASSIGN_OR_RETURN(const std::string start, ReadString(*source, 4));
  return LooksLikeZip(start);
}

}  // namespace

absl::StatusOr<std::unique_ptr<UploadReader>> OpenUpload(UploadFormat format,
                                                         const OpenBytes& upload,
                                                         const UploadLimits& limits) {
  const OpenBytes unpacked = [&]() -> absl::StatusOr<std::unique_ptr<ByteSource>> {
    ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> packed, upload());
    return Unpack(std::move(packed), limits.max_unpacked_bytes);
  };
  if (format == UploadFormat::kTar) {
    ASSIGN_OR_RETURN(const bool is_zip, IsZip(upload));
    if (is_zip) return ZipReader::Open(upload, limits);
  }
  if (format == UploadFormat::kMnist) return OpenIdxReader(unpacked, limits);
  ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> bytes, unpacked());
  if (format == UploadFormat::kCifar10) return MakeCifarReader(std::move(bytes));
  return std::make_unique<TarReader>(std::move(bytes), limits);
}

}  // namespace denoise
