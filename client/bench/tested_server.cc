#include "client/bench/tested_server.h"

#include <utility>

#include "core/base/status_macros.h"

namespace denoise {

TestedServer::TestedServer(const ClientOptions& options, const std::string& tenant_header,
                           Cancellation& cancellation)
    : TestedServer(nullptr, options, tenant_header, cancellation) {}

TestedServer::TestedServer(std::unique_ptr<OwnServer> own_server, const ClientOptions& options,
                           const std::string& tenant_header, Cancellation& cancellation)
    : own_server_(std::move(own_server)),
      cancellation_(cancellation),
      client_(options),
      connection_(options),
      pool_({options, tenant_header}, cancellation) {}

absl::StatusOr<std::unique_ptr<TestedServer>> TestedServer::Start(
    const std::string& program, const std::vector<std::string>& flags,
    const std::string& tenant_header, Cancellation& cancellation) {
  ASSIGN_OR_RETURN(std::unique_ptr<OwnServer> own_server,
                   OwnServer::Start(program, flags, cancellation));
  const ClientOptions options{.address = own_server->address()};
  return std::unique_ptr<TestedServer>(
      new TestedServer(std::move(own_server), options, tenant_header, cancellation));
}

absl::Status TestedServer::CheckRunning() {
  return own_server_ == nullptr ? absl::OkStatus() : own_server_->CheckRunning();
}

}  // namespace denoise
