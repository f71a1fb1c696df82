// What every accepted socket needs.
#pragma once

#include <sys/socket.h>

#include <string>

#include "absl/time/time.h"

namespace denoise {

// What a socket is connected to: "192.0.2.1", "2001:db8::1", or "" for a unix socket.
std::string PeerText(const sockaddr_storage& peer);

// Sends small writes at once. Does nothing to a unix socket.
void SetNoDelay(int descriptor);

// Has the kernel give up a peer that has vanished, or that acknowledges or reads nothing for
// `unread_time` (tcp(7)). Does nothing to a unix socket, whose peer cannot vanish.
void LimitSilence(int descriptor, absl::Duration unread_time);

// Closes with a reset, which leaves nothing behind in the kernel.
void Abort(int descriptor);

}  // namespace denoise
