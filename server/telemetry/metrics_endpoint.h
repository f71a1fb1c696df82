// Serves a registry at http://HOST:PORT/metrics, in Prometheus' text format.
//
// For trusted networks: anybody who reaches the port may read the metrics. A scrape is answered at
// once, however many connections are idle or slow.
//
// Not by civetweb, which prometheus-cpp brings along: it gives its threads stacks of 100 KiB, less
// than LibTorch's thread-local storage needs, and so cannot start one in this process.
#pragma once

#include <prometheus/registry.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace denoise {

class MetricsEndpoint {
 public:
  // `address` as ParseListenAddress takes it; port 0 takes a free one. InvalidArgument if it is
  // malformed, Unavailable if it cannot be had.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> Start(
      const std::string& address, std::shared_ptr<prometheus::Registry> registry);
  ~MetricsEndpoint();  // closes all connections

  // With the port that was taken.
  const std::string& address() const { return address_; }

 private:
  class Impl;
  MetricsEndpoint(std::unique_ptr<Impl> impl, std::string address);

  const std::unique_ptr<Impl> impl_;
  const std::string address_;
};

}  // namespace denoise
