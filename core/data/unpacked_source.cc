#include "core/data/unpacked_source.h"

#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/data/decoder.h"

namespace denoise {
namespace {

constexpr size_t kInputBytes = size_t{64} << 10;

absl::StatusOr<std::unique_ptr<Decoder>> ChooseDecoder(std::string_view start) {
  if (start.starts_with(kGzipMagic)) return MakeGzipDecoder();
  if (start.starts_with(kXzMagic)) return MakeXzDecoder();
  if (start.starts_with(kZstdMagic)) return MakeZstdDecoder();
  return MakeStoredDecoder();
}

class UnpackedSource : public ByteSource {
 public:
  UnpackedSource(std::unique_ptr<ByteSource> packed, int64_t max_bytes)
      : packed_(std::move(packed)), max_bytes_(max_bytes), buffer_(kInputBytes) {}

  absl::StatusOr<size_t> Read(std::span<char> buffer) override {
    for (;;) {
      RETURN_IF_ERROR(FillInput());
      ASSIGN_OR_RETURN(const Decoder::Step step, decoder_->Decode(input_, at_end_, buffer));
      input_.remove_prefix(step.consumed);
      if (step.produced > 0) return Count(step.produced);
      if (step.consumed > 0) continue;
      if (!input_.empty()) return absl::InvalidArgumentError("something follows the packed data");
      if (!at_end_) continue;
      if (!decoder_->IsComplete()) {
        return absl::InvalidArgumentError("the packed data is cut short");
      }
      return 0;
    }
  }

 private:
  absl::Status FillInput() {
    if (!input_.empty() || at_end_) return absl::OkStatus();
    ASSIGN_OR_RETURN(const size_t size, ReadFully(*packed_, buffer_));
    input_ = {buffer_.data(), size};
    at_end_ = size < buffer_.size();
    if (decoder_ != nullptr) return absl::OkStatus();
    ASSIGN_OR_RETURN(decoder_, ChooseDecoder(input_));
    return absl::OkStatus();
  }

  absl::StatusOr<size_t> Count(size_t produced) {
    if (static_cast<int64_t>(produced) > max_bytes_ - unpacked_bytes_) {
      return absl::InvalidArgumentError(
          absl::StrCat("it unpacks to more than ", max_bytes_, " bytes, the most that is read"));
    }
    unpacked_bytes_ += static_cast<int64_t>(produced);
    return produced;
  }

  const std::unique_ptr<ByteSource> packed_;
  const int64_t max_bytes_;
  std::vector<char> buffer_;
  std::string_view input_;  // of buffer_, yet to be decoded
  bool at_end_ = false;     // nothing follows input_
  std::unique_ptr<Decoder> decoder_;
  int64_t unpacked_bytes_ = 0;
};

}  // namespace

std::unique_ptr<ByteSource> Unpack(std::unique_ptr<ByteSource> packed, int64_t max_bytes) {
  return std::make_unique<UnpackedSource>(std::move(packed), max_bytes);
}

}  // namespace denoise
