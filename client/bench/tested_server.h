// A server under test, and how a benchmark reaches it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/bench/call_pool.h"
#include "client/bench/cancellation.h"
#include "client/bench/own_server.h"
#include "client/client.h"
#include "client/client_options.h"
#include "client/connection.h"

namespace denoise {

// Used by one thread. `cancellation` outlives it, and serves one TestedServer at a time.
class TestedServer {
 public:
  // The server that `options` name. `tenant_header` is the metadata key that carries tenants.
  TestedServer(const ClientOptions& options, const std::string& tenant_header,
               Cancellation& cancellation);

  // A server of the benchmark's own, which ends with this object; see OwnServer::Start.
  static absl::StatusOr<std::unique_ptr<TestedServer>> Start(const std::string& program,
                                                             const std::vector<std::string>& flags,
                                                             const std::string& tenant_header,
                                                             Cancellation& cancellation);

  Client& client() { return client_; }
  const Connection& connection() const { return connection_; }
  CallPool& pool() { return pool_; }
  const Cancellation& cancellation() const { return cancellation_; }

  // FailedPrecondition if it is our own and has ended by itself.
  absl::Status CheckRunning();

 private:
  TestedServer(std::unique_ptr<OwnServer> own_server, const ClientOptions& options,
               const std::string& tenant_header, Cancellation& cancellation);

  const std::unique_ptr<OwnServer> own_server_;  // null: somebody else's
  const Cancellation& cancellation_;
  Client client_;
  const Connection connection_;
  CallPool pool_;
};

}  // namespace denoise
