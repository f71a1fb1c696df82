// gRPC's own settings: ports, credentials and the limits that protect it from its callers.
#pragma once

#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/server.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/server_flags.h"

namespace denoise {

struct GrpcListener {
  std::unique_ptr<grpc::Server> server;
  std::string address;                // "HOST:PORT", with the port that was taken
  std::vector<std::string> services;  // by full name, as health knows them
};

// A service by its full name, such as "denoised.v1.Models".
struct NamedService {
  std::string name;
  grpc::Service* service;
};

// Serves `services`, the standard health service (of every service and of the server as a whole:
// SERVING) and reflection. `services` outlive the server.
absl::StatusOr<GrpcListener> Listen(const ServerFlags& flags,
                                    const std::vector<NamedService>& services);

// What the health service says of everything.
void SetServing(GrpcListener& listener, bool serving);

}  // namespace denoise
