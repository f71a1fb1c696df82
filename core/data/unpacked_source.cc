#include "core/data/unpacked_source.h"

#include <lzma.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

// Removes one kind of compression. Like the tools themselves, decoders treat consecutive members as
// one stream. Memory is bounded whatever the stream asks for. Not thread-safe.
class Decoder {
 public:
  struct Step {
    size_t consumed = 0;
    size_t produced = 0;
  };

  virtual ~Decoder() = default;

  // Decodes as much of `input` as `output` has room for. `is_last`: nothing follows `input`.
  // InvalidArgument: malformed. ResourceExhausted: out of memory.
  virtual absl::StatusOr<Step> Decode(std::string_view input, bool is_last,
                                      std::span<char> output) = 0;

  // Whether the stream may end here.
  virtual bool IsComplete() const = 0;
};

inline constexpr std::string_view kGzipMagic = "\x1f\x8b";
inline constexpr std::string_view kXzMagic{"\xfd\x37zXZ\0", 6};
inline constexpr std::string_view kZstdMagic = "\x28\xb5\x2f\xfd";

// What `xz -9` and `zstd --ultra -22` need. Streams that ask for more are refused.
constexpr uint64_t kMaxXzBytes = uint64_t{128} << 20;
constexpr int kMaxZstdWindowLog = 27;

absl::Status NoMemory() { return absl::ResourceExhaustedError("not enough memory to unpack"); }

class StoredDecoder : public Decoder {
 public:
  absl::StatusOr<Step> Decode(std::string_view input, bool, std::span<char> output) override {
    const size_t size = std::min(input.size(), output.size());
    std::memcpy(output.data(), input.data(), size);
    return Step{size, size};
  }
  bool IsComplete() const override { return true; }
};

class GzipDecoder : public Decoder {
 public:
  ~GzipDecoder() override { inflateEnd(&stream_); }

  bool Start() {
    constexpr int kGzipOnly = 16;  // also verifies the checksum of every member
    return inflateInit2(&stream_, MAX_WBITS + kGzipOnly) == Z_OK;
  }

  absl::StatusOr<Step> Decode(std::string_view input, bool, std::span<char> output) override {
    if (between_members_ && !input.empty()) {
      inflateReset(&stream_);
      between_members_ = false;
    }
    // zlib counts in 32 bits and does not write to its input.
    constexpr size_t kMost = std::numeric_limits<uInt>::max();
    const auto in_size = static_cast<uInt>(std::min(input.size(), kMost));
    const auto out_size = static_cast<uInt>(std::min(output.size(), kMost));
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
    stream_.avail_in = in_size;
    stream_.next_out = reinterpret_cast<Bytef*>(output.data());
    stream_.avail_out = out_size;
    const int result = between_members_ ? Z_OK : inflate(&stream_, Z_NO_FLUSH);
    if (result == Z_MEM_ERROR) return NoMemory();
    if (result == Z_STREAM_END) between_members_ = true;
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
      return absl::InvalidArgumentError("the gzip data is damaged");
    }
    return Step{in_size - stream_.avail_in, out_size - stream_.avail_out};
  }

  bool IsComplete() const override { return between_members_; }

 private:
  z_stream stream_ = {};
  bool between_members_ = false;
};

class XzDecoder : public Decoder {
 public:
  ~XzDecoder() override { lzma_end(&stream_); }

  bool Start() { return lzma_stream_decoder(&stream_, kMaxXzBytes, LZMA_CONCATENATED) == LZMA_OK; }

  absl::StatusOr<Step> Decode(std::string_view input, bool is_last,
                              std::span<char> output) override {
    if (complete_) return Step{};
    stream_.next_in = reinterpret_cast<const uint8_t*>(input.data());
    stream_.avail_in = input.size();
    stream_.next_out = reinterpret_cast<uint8_t*>(output.data());
    stream_.avail_out = output.size();
    switch (lzma_code(&stream_, is_last ? LZMA_FINISH : LZMA_RUN)) {
      case LZMA_STREAM_END:
        complete_ = true;
        break;
      case LZMA_OK:
      case LZMA_BUF_ERROR:  // no progress, which the caller notices
        break;
      case LZMA_MEM_ERROR:
        return NoMemory();
      case LZMA_MEMLIMIT_ERROR:
        return absl::InvalidArgumentError("the xz data needs more memory than xz -9 would");
      default:
        return absl::InvalidArgumentError("the xz data is damaged");
    }
    return Step{input.size() - stream_.avail_in, output.size() - stream_.avail_out};
  }

  bool IsComplete() const override { return complete_; }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool complete_ = false;
};

class ZstdDecoder : public Decoder {
 public:
  ~ZstdDecoder() override { ZSTD_freeDCtx(context_); }

  bool Start() {
    return context_ != nullptr &&
           !ZSTD_isError(ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, kMaxZstdWindowLog));
  }

  absl::StatusOr<Step> Decode(std::string_view input, bool, std::span<char> output) override {
    if (between_frames_ && input.empty()) return Step{};
    ZSTD_inBuffer in = {input.data(), input.size(), 0};
    ZSTD_outBuffer out = {output.data(), output.size(), 0};
    const size_t result = ZSTD_decompressStream(context_, &out, &in);
    if (ZSTD_isError(result)) {
      const ZSTD_ErrorCode error = ZSTD_getErrorCode(result);
      if (error == ZSTD_error_memory_allocation) return NoMemory();
      return absl::InvalidArgumentError(
          error == ZSTD_error_frameParameter_windowTooLarge
              ? "the zstd data needs more memory than zstd --ultra -22 would"
              : "the zstd data is damaged");
    }
    between_frames_ = result == 0;
    return Step{in.pos, out.pos};
  }

  bool IsComplete() const override { return between_frames_; }

 private:
  ZSTD_DCtx* const context_ = ZSTD_createDCtx();
  bool between_frames_ = false;
};

// ResourceExhausted: out of memory.
template <typename SomeDecoder>
absl::StatusOr<std::unique_ptr<Decoder>> Make() {
  auto decoder = std::make_unique<SomeDecoder>();
  if (!decoder->Start()) return NoMemory();
  return decoder;
}

constexpr size_t kInputBytes = size_t{64} << 10;

absl::StatusOr<std::unique_ptr<Decoder>> ChooseDecoder(std::string_view start) {
  if (start.starts_with(kGzipMagic)) return Make<GzipDecoder>();
  if (start.starts_with(kXzMagic)) return Make<XzDecoder>();
  if (start.starts_with(kZstdMagic)) return Make<ZstdDecoder>();
  return std::make_unique<StoredDecoder>();
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
      if (!input_.empty()) {
        return absl::InvalidArgumentError("something follows the packed data");
      }
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
          absl::StrCat("it unpacks to more than ", max_bytes_, " bytes, the maximum"));
    }
    unpacked_bytes_ += static_cast<int64_t>(produced);
    return produced;
  }

  const std::unique_ptr<ByteSource> packed_;
  const int64_t max_bytes_;
  std::vector<char> buffer_;
  std::string_view input_;  // the part of buffer_ not yet decoded
  bool at_end_ = false;     // nothing follows input_
  std::unique_ptr<Decoder> decoder_;
  int64_t unpacked_bytes_ = 0;
};

}  // namespace

std::unique_ptr<ByteSource> Unpack(std::unique_ptr<ByteSource> packed, int64_t max_bytes) {
  return std::make_unique<UnpackedSource>(std::move(packed), max_bytes);
}

}  // namespace denoise
