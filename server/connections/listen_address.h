// Where to listen: "HOST:PORT", "[IPV6]:PORT" or "unix:PATH".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

struct ListenAddress {
  std::string host;       // a name, an address, or empty for every address of the machine
  int port = 0;           // 0: a free one
  std::string unix_path;  // not empty: a unix socket, and there is neither host nor port
};

// InvalidArgument says what an address looks like.
absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text);

// Sockets that listen, non-blocking. More than one where a name means several addresses.
class ListeningSockets {
 public:
  // Errors name the address: Unavailable if it is in use or not of this machine.
  static absl::StatusOr<ListeningSockets> Open(const ListenAddress& address);
  // The errors of Open, as far as they can be known without listening: no client is accepted.
  // Not for unix sockets, whose file would be left behind.
  static absl::Status CheckFree(const ListenAddress& address);

  ~ListeningSockets();
  ListeningSockets(ListeningSockets&&) noexcept;
  ListeningSockets& operator=(ListeningSockets&&) = delete;

  // "HOST:PORT" as it was asked for, with the port that was taken.
  const std::string& address() const { return address_; }
  // Hands the descriptors over to the caller, who closes them.
  std::vector<int> Release();

 private:
  static absl::StatusOr<ListeningSockets> Bind(const ListenAddress& address);
  ListeningSockets(ListenAddress address, std::vector<int> descriptors);

  std::string address_;
  std::vector<int> descriptors_;
};

}  // namespace denoise
