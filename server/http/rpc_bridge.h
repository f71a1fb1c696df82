// Every method of every service over HTTP: as Connect, in JSON and in binary, and as gRPC-Web. For
// curl, streams are also lines of JSON (application/x-ndjson), each a message; the last line is
// {"error": ...} where the call has failed. A request of one message may be application/json.
//
// The bridge has no code for single methods. It passes messages as bytes to the server's own
// in-process channel, so there is one implementation of every rule, and converts JSON by the
// methods' descriptors. Deadlines, metadata, trailers and the details of errors pass through. A
// client that leaves cancels its call; one that reads slowly holds back its own stream alone,
// because a message is read from gRPC once the last has been written.
//
// A client of HTTP/1.1 sends all of its messages before it reads the first: methods that stream in
// both directions at once would not work, and the API has none.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "core/base/clock.h"
#include "server/http/caller.h"
#include "server/http/grpc_calls.h"
#include "server/http/http_exchange.h"
#include "server/http/rpc_methods.h"
#include "server/rpc/work_pool.h"

namespace denoise {

// Thread-safe.
class RpcBridge {
 public:
  struct Options {
    GrpcCalls* calls;
    std::vector<std::string> services;  // by full name
    int64_t message_bytes_max;          // in binary
    WorkPool* pool;                     // converts large messages
    // Whether the process has room for another call, before its body is read. Any thread calls it.
    std::function<absl::Status()> admit;
    const AccessControl* access;  // checks the caller before that
    const Clock* clock = &Clock::Real();
  };
  explicit RpcBridge(Options options) : options_(std::move(options)), methods_(options_.services) {}

  // Whether there is such a method.
  bool Has(std::string_view path) const { return methods_.Find(path) != nullptr; }
  // For POST requests to methods that there are.
  Task<void> Serve(HttpExchange& exchange);

 private:
  class Call;

  const Options options_;
  const RpcMethods methods_;
};

}  // namespace denoise
