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

#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "server/http/grpc_call.h"
#include "server/http/http_exchange.h"
#include "server/http/rpc_methods.h"
#include "server/rpc/live_calls.h"
#include "server/rpc/work_pool.h"

namespace denoise {

// Thread-safe.
class RpcBridge {
 public:
  struct Options {
    std::shared_ptr<grpc::Channel> channel;
    std::vector<std::string> services;  // by full name
    int64_t message_bytes_max;          // in binary
    WorkPool* pool;                     // converts large messages
    // Whether the process has room for another call, before its body is read. Any thread calls it.
    std::function<absl::Status()> admit;
    const Clock* clock = &Clock::Real();
  };
  explicit RpcBridge(Options options);

  // Whether there is such a method.
  bool Has(std::string_view path) const { return methods_.Find(path) != nullptr; }
  // For POST requests to methods that there are.
  Task<void> Serve(HttpExchange& exchange);

  // From now on calls are refused as Unavailable. Comes before gRPC's server is shut down: its channel
  // takes no calls afterwards.
  void RefuseCalls() ABSL_LOCKS_EXCLUDED(mutex_);
  // Returns once gRPC has let go of all calls; its server must be shut down.
  void WaitUntilDone() { live_.WaitUntilNone(absl::InfiniteFuture()); }

 private:
  class Call;

  // Null where calls are refused.
  std::shared_ptr<GrpcCall> StartCall(GrpcCall::Options options) ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  const RpcMethods methods_;
  grpc::GenericStub stub_;
  LiveCalls live_;
  Mutex mutex_;
  bool refuses_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace denoise
