#include "server/connections/http2_guard.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace denoise {

absl::Status Http2Guard::Inspect(std::string_view bytes, absl::Time now) {
  if (!established()) RETURN_IF_ERROR(InspectPreface(bytes));
  absl::Status status;
  frames_.Read(bytes, [&](const Http2Frame& frame) {
    status = InspectFrame(frame, now);
    if (status.ok() && on_frame_) on_frame_(frame);
    return status.ok();
  });
  return status;
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

absl::Status Http2Guard::InspectFrame(const Http2Frame& frame, absl::Time now) {
  switch (frame.type) {
    case Http2Frame::kHeaders:
      RETURN_IF_ERROR(InspectCall());
      block_bytes_ = 0;
      return InspectHeaders(frame.length, frame.has(Http2Frame::kEndHeaders));
    case Http2Frame::kContinuation:
      return InspectHeaders(frame.length, frame.has(Http2Frame::kEndHeaders));
    case Http2Frame::kRstStream:
      return InspectReset(now);
    case Http2Frame::kWindowUpdate:  // frequent while a client reads much, and cheap
      return absl::OkStatus();
    case Http2Frame::kData:
      return frame.length > 0 || frame.has(Http2Frame::kEndStream) ? absl::OkStatus()
                                                                   : InspectControlFrame(now);
    case Http2Frame::kSettings:
      settings_acknowledged_ = settings_acknowledged_ || frame.has(Http2Frame::kAck);
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
  block_bytes_ += Http2Frame::kHeaderBytes + length;
  if (block_bytes_ > limits_.header_block_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a header block of more than ", limits_.header_block_bytes, " bytes"));
  }
  if (end_headers) block_bytes_ = 0;
  return absl::OkStatus();
}

}  // namespace denoise
