// Watches the frames of one HTTP/2 connection on their way to gRPC, and says when to close it.
//
// gRPC 1.51 bounds messages, streams and the size of decoded headers, but not what it takes to get
// there: a client that opens and resets streams, or sends one header block without end, makes it
// allocate gigabytes and holds up everybody (CVE-2023-44487 and CVE-2024-27316 are such attacks).
// The guard sees frame headers only (RFC 9113, section 4.1): it decodes nothing, keeps no payload,
// and needs a few hundred bytes a connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/connections/http2_frame.h"
#include "server/connections/token_bucket.h"

namespace denoise {

// Not thread-safe.
class Http2Guard {
 public:
  struct Limits {
    // A header block as it is sent: HEADERS and its CONTINUATION frames.
    size_t header_block_bytes = 64 << 10;
    // Calls before the client has acknowledged the server's SETTINGS: gRPC applies its limit on
    // concurrent streams only then, and a client that never acknowledges has none.
    int calls_before_settings = 128;
    // Streams that the client resets (cancelled calls), and frames that cost work but carry no
    // call: SETTINGS, PING, PRIORITY, GOAWAY, unknown types, DATA without data.
    TokenBucket::Rate resets = {.burst = 256, .per_second = 64};
    TokenBucket::Rate control_frames = {.burst = 1024, .per_second = 256};
  };

  // The same for all connections of one address together. Otherwise many connections would be a
  // way around the limits of one.
  struct AddressLimits {
    TokenBucket::Rate resets = {.burst = 2048, .per_second = 512};
    TokenBucket::Rate control_frames = {.burst = 8192, .per_second = 2048};
  };
  // What is left to an address.
  struct AddressBudget {
    AddressBudget(const AddressLimits& limits, absl::Time now)
        : resets(limits.resets, now), control_frames(limits.control_frames, now) {}

    bool IsFull(absl::Time now) const { return resets.IsFull(now) && control_frames.IsFull(now); }

    TokenBucket resets;
    TokenBucket control_frames;
  };

  // Hears of each frame.
  using OnFrame = std::function<void(const Http2Frame&)>;

  // `address` is shared by the guards of its connections, and outlives them.
  Http2Guard(const Limits& limits, absl::Time now, AddressBudget* address,
             OnFrame on_frame = nullptr)
      : limits_(limits),
        resets_(limits.resets, now),
        control_frames_(limits.control_frames, now),
        address_(address),
        on_frame_(std::move(on_frame)) {}

  // The next bytes that the client sent, split anywhere. An error says why the connection has to be
  // closed; then do not call it again.
  absl::Status Inspect(std::string_view bytes, absl::Time now);

  // Whether the connection has begun as one of HTTP/2.
  bool established() const { return preface_bytes_ == kPreface.size(); }

 private:
  static constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  absl::Status InspectPreface(std::string_view& bytes);
  absl::Status InspectFrame(const Http2Frame& frame, absl::Time now);
  absl::Status InspectCall();
  absl::Status InspectReset(absl::Time now);
  absl::Status InspectControlFrame(absl::Time now);
  absl::Status InspectHeaders(uint32_t length, bool end_headers);

  const Limits limits_;
  TokenBucket resets_;
  TokenBucket control_frames_;
  AddressBudget* const address_;
  const OnFrame on_frame_;    // may be null
  size_t preface_bytes_ = 0;  // that have come
  Http2FrameReader frames_;
  bool settings_acknowledged_ = false;
  int calls_before_settings_ = 0;
  size_t block_bytes_ = 0;  // of the header block that is under way
};

}  // namespace denoise
