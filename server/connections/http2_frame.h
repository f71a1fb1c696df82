// What the relay knows of HTTP/2's frames (RFC 9113, sections 4.1 and 6). Internal to
// server/connections.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace denoise {

struct Http2Frame {
  enum Type : uint8_t {
    kData = 0,
    kHeaders = 1,
    kRstStream = 3,
    kSettings = 4,
    kWindowUpdate = 8,
    kContinuation = 9,
  };
  static constexpr uint8_t kEndStream = 0x1;
  static constexpr uint8_t kAck = 0x1;
  static constexpr uint8_t kEndHeaders = 0x4;
  static constexpr size_t kHeaderBytes = 9;

  bool has(uint8_t flag) const { return (flags & flag) != 0; }

  uint32_t length;
  uint8_t type;
  uint8_t flags;
  uint32_t stream;
};

// Finds the headers of frames in bytes that come split anywhere. Keeps no payload.
class Http2FrameReader {
 public:
  // Calls `visit(const Http2Frame&)` for each frame whose header is now complete, until it returns
  // false.
  template <class Visit>
  void Read(std::string_view bytes, Visit visit) {
    while (!bytes.empty()) {
      if (payload_left_ > 0) {
        const size_t skipped = std::min<size_t>(payload_left_, bytes.size());
        payload_left_ -= static_cast<uint32_t>(skipped);
        bytes.remove_prefix(skipped);
        continue;
      }
      header_[header_bytes_++] = static_cast<uint8_t>(bytes.front());
      bytes.remove_prefix(1);
      if (header_bytes_ < Http2Frame::kHeaderBytes) continue;
      header_bytes_ = 0;
      const Http2Frame frame = Parse();
      payload_left_ = frame.length;
      if (!visit(frame)) return;
    }
  }

 private:
  Http2Frame Parse() const {
    const auto& h = header_;
    return {.length = uint32_t{h[0]} << 16 | uint32_t{h[1]} << 8 | h[2],
            .type = h[3],
            .flags = h[4],
            .stream = (uint32_t{h[5]} << 24 | uint32_t{h[6]} << 16 | uint32_t{h[7]} << 8 | h[8]) &
                      0x7fffffff};
  }

  std::array<uint8_t, Http2Frame::kHeaderBytes> header_ = {};
  size_t header_bytes_ = 0;    // of the next frame that have come
  uint32_t payload_left_ = 0;  // of the frame that is under way
};

}  // namespace denoise
