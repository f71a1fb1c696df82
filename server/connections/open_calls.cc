#include "server/connections/open_calls.h"

namespace denoise {
namespace {

// gRPC refuses most of these. A client that opens more without reading the answers counts as busy
// as long as those are open that are remembered.
constexpr size_t kMaxRemembered = 256;

}  // namespace

void OpenCalls::OnClientFrame(const Http2Frame& frame, absl::Time now) {
  if (frame.type == Http2Frame::kRstStream) return End(frame.stream, now);
  const bool is_header =
      frame.type == Http2Frame::kHeaders || frame.type == Http2Frame::kContinuation;
  if (!is_header || !frame.has(Http2Frame::kEndHeaders) || frame.stream <= last_stream_) return;
  last_stream_ = frame.stream;
  if (open_.size() < kMaxRemembered) open_.insert(frame.stream);
}

// The server ends each call, with its trailers or a reset.
void OpenCalls::OnServerBytes(std::string_view bytes, absl::Time now) {
  from_server_.Read(bytes, [&](const Http2Frame& frame) {
    const bool ends = frame.type == Http2Frame::kRstStream ||
                      ((frame.type == Http2Frame::kHeaders || frame.type == Http2Frame::kData) &&
                       frame.has(Http2Frame::kEndStream));
    if (ends) End(frame.stream, now);
    return true;
  });
}

void OpenCalls::End(uint32_t stream, absl::Time now) {
  if (open_.erase(stream) > 0 && open_.empty()) idle_since_ = now;
}

}  // namespace denoise
