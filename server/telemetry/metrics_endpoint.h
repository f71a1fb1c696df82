// Serves a registry at http://HOST:PORT/metrics, in Prometheus' text format.
//
// For trusted networks: anybody who reaches the port may read the metrics, and a few clients that
// send slowly can keep the others from them. Generation does not suffer from it.
//
// Not by civetweb, which prometheus-cpp brings along: it gives its threads stacks of 100 KiB, less
// than LibTorch's thread-local storage needs, and so cannot start one in this
// process.
#pragma once

#include <prometheus/registry.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"

namespace httplib {
class Server;
}

namespace denoise {

class MetricsEndpoint {
 public:
  // `address` is "HOST:PORT" or "[IPV6]:PORT"; port 0 takes a free one. InvalidArgument where it is
  // malformed, Unavailable where it cannot be had.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> Start(
      const std::string& address, std::shared_ptr<prometheus::Registry> registry);
  ~MetricsEndpoint();  // lets the answers under way finish, for a few seconds at most

  // With the port that was taken.
  const std::string& address() const { return address_; }

 private:
  MetricsEndpoint(std::unique_ptr<httplib::Server> server, std::string address);

  const std::unique_ptr<httplib::Server> server_;
  const std::string address_;
  std::atomic<bool> ended_ = false;  // before thread_, which sets it
  std::thread thread_;
};

}  // namespace denoise
