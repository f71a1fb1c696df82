#include "core/data/upload_reader.h"

#include <utility>

#include "core/base/status_macros.h"
#include "core/data/raw_formats.h"
#include "core/data/tar_reader.h"
#include "core/data/unpacked_source.h"

namespace denoise {

absl::StatusOr<std::unique_ptr<UploadReader>> OpenUpload(UploadFormat format,
                                                         const OpenBytes& upload,
                                                         const UploadLimits& limits) {
  const OpenBytes unpacked = [&]() -> absl::StatusOr<std::unique_ptr<ByteSource>> {
    ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> packed, upload());
    return Unpack(std::move(packed), limits.max_unpacked_bytes);
  };
  if (format == UploadFormat::kMnist) return OpenIdxReader(unpacked, limits);
  ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> bytes, unpacked());
  if (format == UploadFormat::kCifar10) return MakeCifarReader(std::move(bytes));
  return std::make_unique<TarReader>(std::move(bytes), limits);
}

}  // namespace denoise
