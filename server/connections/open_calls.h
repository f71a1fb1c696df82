// Which calls are open on one HTTP/2 connection, so that an idle one can make room for another.
#pragma once

#include <cstdint>
#include <set>
#include <string_view>

#include "absl/time/time.h"
#include "server/connections/http2_frame.h"

namespace denoise {

// Not thread-safe. Takes at most some ten KiB.
class OpenCalls {
 public:
  // `now` is when the connection began.
  explicit OpenCalls(absl::Time now) : idle_since_(now) {}

  // A frame from the client. A call is open once all of its headers are there.
  void OnClientFrame(const Http2Frame& frame, absl::Time now);
  // The next bytes from the server, split anywhere.
  void OnServerBytes(std::string_view bytes, absl::Time now);

  // Since when no call has been open; InfiniteFuture while one is.
  absl::Time idle_since() const { return open_.empty() ? idle_since_ : absl::InfiniteFuture(); }

 private:
  void End(uint32_t stream, absl::Time now);

  Http2FrameReader from_server_;
  std::set<uint32_t> open_;
  uint32_t last_stream_ = 0;  // that the client has opened: their numbers rise
  absl::Time idle_since_;     // of the last time that there was none
};

}  // namespace denoise
