// The HTTP side of the server: its listener and what it serves, put together.
#pragma once

#include <grpcpp/channel.h>
#include <prometheus/registry.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/http/grpc_calls.h"
#include "server/http/http_server.h"
#include "server/http/openai_bridge.h"
#include "server/http/routes.h"
#include "server/http/rpc_bridge.h"
#include "server/rpc/work_pool.h"
#include "server/server_flags.h"
#include "server/telemetry/telemetry.h"

namespace denoise {

class HttpListener {
 public:
  struct Parts {
    std::shared_ptr<grpc::Channel> channel;  // to the server itself
    std::vector<std::string> services;       // by full name
    Telemetry* telemetry;                    // this and the pool outlive the listener
    WorkPool* pool;                          // of pictures
    std::function<absl::Status()> admit;     // whether the process has room for another call
    std::function<absl::Status()> liveness;  // of the server, or why not
    std::function<absl::Status()> readiness;
    const AccessControl* access;  // outlives the listener
    AccessLog* access_log;        // null: none; outlives it, too
  };

  // InvalidArgument where it is the flags; Unavailable where the address cannot be had.
  static absl::StatusOr<std::unique_ptr<HttpListener>> Start(const ServerFlags& flags, Parts parts);
  // Closes all connections. gRPC's server has been shut down by then, so that all calls end.
  ~HttpListener();

  const std::string& address() const { return address_; }  // "HOST:PORT", with the port taken
  // For new connections; see HttpServer::ReplaceTls.
  absl::Status ReplaceTls(const TlsFiles& files) { return server_->ReplaceTls(files); }
  // Answers RPCs as Unavailable from now on. Comes before gRPC's server is shut down.
  void RefuseCalls() { calls_.Refuse(); }
  // Returns once all requests are answered, or at `deadline`.
  void WaitUntilAnswered(absl::Time deadline) { server_->WaitUntilAnswered(deadline); }

 private:
  HttpListener(const ServerFlags& flags, Parts parts, Origins origins);

  std::string address_;
  GrpcCalls calls_;
  WorkPool messages_;  // converts large ones, and keeps no picture waiting
  RpcBridge bridge_;
  OpenAiBridge openai_;
  const HttpRoutes routes_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace denoise
