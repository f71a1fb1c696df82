// gRPC's own settings, the connections that reach it, and the limits that protect it from its
// callers.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/server.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/connections/connection_relay.h"
#include "server/connections/memory_guard.h"
#include "server/identity/access_control.h"
#include "server/server_flags.h"
#include "server/telemetry/access_log.h"
#include "server/telemetry/telemetry.h"

namespace denoise {

struct GrpcListener {
  std::unique_ptr<grpc::Server> server;  // shut down before the listener goes away
  std::string address;                   // "HOST:PORT", with the port that was taken
  std::vector<std::string> services;     // by full name, as health knows them
  std::unique_ptr<ConnectionRelay> relay;
};

// A service by its full name, such as "denoised.v1.Models".
struct NamedService {
  std::string name;
  grpc::Service* service;
};

// Serves `services`, the standard health service (SERVING, see SetHealth) and, unless the flags say
// otherwise, reflection. What it is given outlives the listener; `telemetry`, `access` and
// `access_log` may be null.
absl::StatusOr<GrpcListener> Listen(const ServerFlags& flags,
                                    const std::vector<NamedService>& services, MemoryGuard* memory,
                                    Telemetry* telemetry, AccessControl* access = nullptr,
                                    AccessLog* access_log = nullptr);

// For calls from within the process, as long as the server runs. Their sizes are not limited.
std::shared_ptr<grpc::Channel> InProcessChannel(GrpcListener& listener);

// The service whose health says whether the process should be restarted.
inline constexpr char kLivenessService[] = "liveness";

struct HealthState {
  bool live = true;   // of kLivenessService
  bool ready = true;  // of every service, and of the server as a whole
};

// What the health service says.
void SetHealth(GrpcListener& listener, const HealthState& state);

}  // namespace denoise
