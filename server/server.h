// The server: models, engine, services and ports, put together and taken apart in the right order.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/server_flags.h"

namespace denoise {

class Server {
 public:
  // Loads and warms up the models, then listens: whoever can connect is served. The status says, in
  // a line for a person, what keeps it from starting. InvalidArgument where it is the flags.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerFlags& flags);
  ~Server();  // Stop(now)

  // "HOST:PORT", with the port that was taken. `http_address` is empty where HTTP is off.
  const std::string& address() const;
  const std::string& http_address() const;

  // Health says NOT_SERVING and new requests are refused; running ones finish, or end with
  // UNAVAILABLE at `deadline`. Returns once every call is over.
  void Stop(absl::Time deadline);

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace denoise
