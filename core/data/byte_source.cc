#include "core/data/byte_source.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "core/base/check.h"
#include "core/base/file_descriptor.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr size_t kPieceBytes = size_t{64} << 10;

class FileSource : public ByteSource {
 public:
  explicit FileSource(FileDescriptor file) : file_(std::move(file)) {}

  absl::StatusOr<size_t> Read(std::span<char> buffer) override {
    DENOISE_DCHECK(!buffer.empty());
    for (;;) {
      const ssize_t size = read(file_.get(), buffer.data(), buffer.size());
      if (size >= 0) return static_cast<size_t>(size);
      if (errno != EINTR) return absl::UnavailableError("the file cannot be read");
    }
  }

 private:
  const FileDescriptor file_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ByteSource>> OpenFileSource(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(RegularFile file, OpenRegularFile(path));
  return std::make_unique<FileSource>(std::move(file.descriptor));
}

absl::StatusOr<size_t> StringSource::Read(std::span<char> buffer) {
  DENOISE_DCHECK(!buffer.empty());
  const size_t size = std::min(buffer.size(), bytes_.size() - position_);
  std::memcpy(buffer.data(), bytes_.data() + position_, size);
  position_ += size;
  return size;
}

absl::StatusOr<size_t> ReadFully(ByteSource& source, std::span<char> buffer) {
  size_t filled = 0;
  while (filled < buffer.size()) {
    ASSIGN_OR_RETURN(const size_t size, source.Read(buffer.subspan(filled)));
    if (size == 0) break;
    filled += size;
  }
  return filled;
}

absl::StatusOr<std::string> ReadString(ByteSource& source, size_t size) {
  std::string bytes;
  while (bytes.size() < size) {
    const size_t before = bytes.size();
    const size_t piece = std::min(size - before, std::max(before, kPieceBytes));
    bytes.resize(before + piece);
    ASSIGN_OR_RETURN(const size_t read, ReadFully(source, {bytes.data() + before, piece}));
    bytes.resize(before + read);
    if (read < piece) break;
  }
  return bytes;
}

absl::StatusOr<int64_t> Skip(ByteSource& source, int64_t size) {
  std::array<char, kPieceBytes> piece;
  int64_t skipped = 0;
  while (skipped < size) {
    const auto wanted = static_cast<size_t>(std::min<int64_t>(size - skipped, piece.size()));
    ASSIGN_OR_RETURN(const size_t read, source.Read({piece.data(), wanted}));
    if (read == 0) break;
    skipped += static_cast<int64_t>(read);
  }
  return skipped;
}

}  // namespace denoise
