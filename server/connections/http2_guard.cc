#include "server/connections/http2_guard.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

// RFC 9113, section 6.
enum FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kRstStream = 3,
  kSettings = 4,
  kWindowUpdate = 8,
  kContinuation = 9,
};
constexpr uint8_t kEndStream = 0x1;
constexpr uint8_t kAck = 0x1;
constexpr uint8_t kEndHeaders = 0x4;

}  // namespace

absl::Status Http2Guard::Inspect(std::string_view bytes, absl::Time now) {
  if (!established()) RETURN_IF_ERROR(InspectPreface(bytes));
  while (!bytes.empty()) {
    if (payload_left_ > 0) {
      const size_t skipped = std::min<size_t>(payload_left_, bytes.size());
      payload_left_ -= static_cast<uint32_t>(skipped);
      bytes.remove_prefix(skipped);
      continue;
    }
    header_[header_bytes_++] = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    if (header_bytes_ < kFrameHeaderBytes) continue;
    header_bytes_ = 0;
    RETURN_IF_ERROR(InspectFrame(now));
  }
  return absl::OkStatus();
}

absl::Status Http2Guard::InspectPreface(std::string_view& bytes) {
  const size_t count = std::min(bytes.size(), kPreface.size() - preface_bytes_);
  if (bytes.substr(0, count) != kPreface.substr(preface_bytes_, count)) {
    return absl::InvalidArgumentError("not HTTP/2");
  }
  preface_bytes_ += count;
  bytes.remove_prefix(count);
  return absl::OkStatus();
}

absl::Status Http2Guard::InspectFrame(absl::Time now) {
  const uint32_t length = header_[0] << 16 | header_[1] << 8 | header_[2];
  const uint8_t type = header_[3];
  const uint8_t flags = header_[4];
  payload_left_ = length;
  switch (type) {
    case kHeaders:
      RETURN_IF_ERROR(InspectCall());
      block_bytes_ = 0;
      return InspectHeaders(length, (flags & kEndHeaders) != 0);
    case kContinuation:
      return InspectHeaders(length, (flags & kEndHeaders) != 0);
    case kRstStream:
      return InspectReset(now);
    case kWindowUpdate:  // frequent while a client reads much, and cheap
      return absl::OkStatus();
    case kData:
      return length > 0 || (flags & kEndStream) != 0 ? absl::OkStatus() : InspectControlFrame(now);
    case kSettings:
      settings_acknowledged_ = settings_acknowledged_ || (flags & kAck) != 0;
      return InspectControlFrame(now);
    default:
      return InspectControlFrame(now);
  }
}

absl::Status Http2Guard::InspectReset(absl::Time now) {
  if (!resets_.Take(now)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("more than ", limits_.resets.per_second, " cancelled calls a second"));
  }
  if (address_->resets.Take(now)) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("more than ", address_->resets.rate().per_second,
                   " cancelled calls a second on all connections of its address"));
}

absl::Status Http2Guard::InspectControlFrame(absl::Time now) {
  if (!control_frames_.Take(now)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("more than ", limits_.control_frames.per_second, " control frames a second"));
  }
  if (address_->control_frames.Take(now)) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("more than ", address_->control_frames.rate().per_second,
                   " control frames a second on all connections of its address"));
}

absl::Status Http2Guard::InspectCall() {
  if (settings_acknowledged_ || ++calls_before_settings_ <= limits_.calls_before_settings)
    return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("more than ", limits_.calls_before_settings,
                   " calls before it has acknowledged the server's SETTINGS"));
}

// An empty CONTINUATION counts, too: there may be any number of them in a block.
absl::Status Http2Guard::InspectHeaders(uint32_t length, bool end_headers) {
  block_bytes_ += kFrameHeaderBytes + length;
  if (block_bytes_ > limits_.header_block_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a header block of more than ", limits_.header_block_bytes, " bytes"));
  }
  if (end_headers) block_bytes_ = 0;
  return absl::OkStatus();
}

}  // namespace denoise
