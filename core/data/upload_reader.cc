#include "core/data/upload_reader.h"

#include <memory>
#include <span>
#include <string>
#include <utility>

#include "core/base/status_macros.h"
#include "core/data/raw_formats.h"
#include "core/data/tar_reader.h"
#include "core/data/unpacked_source.h"
#include "core/data/zip_reader.h"

namespace denoise {

namespace {

// A source of which the first bytes were read already.
class ContinuedSource : public ByteSource {
 public:
  ContinuedSource(std::string start, std::unique_ptr<ByteSource> rest)
      : start_(std::move(start)), rest_(std::move(rest)) {}

  absl::StatusOr<size_t> Read(std::span<char> buffer) override {
    if (start_.empty()) return rest_->Read(buffer);
    const size_t size = start_.copy(buffer.data(), buffer.size());
    start_.erase(0, size);
    return size;
  }

 private:
  std::string start_;
  const std::unique_ptr<ByteSource> rest_;
};

absl::StatusOr<std::unique_ptr<UploadReader>> OpenArchive(const OpenBytes& upload,
                                                          const UploadLimits& limits) {
  ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, upload());
  ASSIGN_OR_RETURN(std::string start, ReadString(*source, 4));
  if (LooksLikeZip(start)) return ZipReader::Open(upload, limits);
  auto whole = std::make_unique<ContinuedSource>(std::move(start), std::move(source));
  return std::make_unique<TarReader>(Unpack(std::move(whole), limits.max_unpacked_bytes), limits);
}

}  // namespace

absl::StatusOr<std::unique_ptr<UploadReader>> OpenUpload(UploadFormat format,
                                                         const OpenBytes& upload,
                                                         const UploadLimits& limits) {
  if (format == UploadFormat::kTar) return OpenArchive(upload, limits);
  const OpenBytes unpacked = [&]() -> absl::StatusOr<std::unique_ptr<ByteSource>> {
    ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> packed, upload());
    return Unpack(std::move(packed), limits.max_unpacked_bytes);
  };
  if (format == UploadFormat::kMnist) return OpenIdxReader(unpacked, limits);
  ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> bytes, unpacked());
  return MakeCifarReader(std::move(bytes));
}

}  // namespace denoise
