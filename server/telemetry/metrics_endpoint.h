// Serves a registry at http://HOST:PORT/metrics, in Prometheus' text format.
//
// A small server of our own: civetweb, which prometheus-cpp brings along, gives its threads stacks
// of 100 KiB, too small for the thread-local storage of LibTorch and OpenBLAS, and so cannot start
// a thread in this process.
#pragma once

#include <prometheus/registry.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"

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
  MetricsEndpoint(int listener, int stop, std::string address,
                  std::shared_ptr<prometheus::Registry> registry);
  void Loop() const;
  void Answer(int connection) const;

  const int listener_;  // owned
  const int stop_;      // owned; readable once it is time to go
  const std::string address_;
  const std::shared_ptr<prometheus::Registry> registry_;
  std::vector<std::thread> threads_;
};

}  // namespace denoise
