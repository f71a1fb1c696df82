#include "server/grpc_listener.h"

#include <grpc/impl/codegen/grpc_types.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/read_file.h"
#include "core/base/status_macros.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

// A peer that has vanished without a word is noticed, and its rows are freed, within kKeepaliveMs +
// kKeepaliveTimeoutMs.
constexpr int kKeepaliveMs = 20'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
// Clients may ping this often; others are disconnected.
constexpr int kMinPingIntervalMs = 5'000;
constexpr size_t kMaxPemBytes = 1 << 20;

// gRPC's own complaints go where ours go, a line each.
void ForwardLog(gpr_log_func_args* args) {
  const auto level = args->severity == GPR_LOG_SEVERITY_ERROR  ? spdlog::level::err
                     : args->severity == GPR_LOG_SEVERITY_INFO ? spdlog::level::info
                                                               : spdlog::level::debug;
  LogEvent(level, "grpc", {{"message", args->message}});
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> Credentials(const ServerFlags& flags) {
  if (flags.tls_cert.empty()) return grpc::InsecureServerCredentials();
  ASSIGN_OR_RETURN(std::string cert, ReadFile(flags.tls_cert, kMaxPemBytes));
  ASSIGN_OR_RETURN(std::string key, ReadFile(flags.tls_key, kMaxPemBytes));
  grpc::SslServerCredentialsOptions options;
  options.pem_key_cert_pairs.push_back({std::move(key), std::move(cert)});
  return grpc::SslServerCredentials(options);
}

void SetLimits(const ServerFlags& flags, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(flags.max_receive_bytes);
  builder.SetMaxSendMessageSize(-1);  // raw images are as large as the model makes them
  builder.SetResourceQuota(
      grpc::ResourceQuota("denoised").Resize(static_cast<size_t>(flags.memory_quota_mib) << 20));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, flags.max_concurrent_streams);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kMinPingIntervalMs);
  // Two servers on one port would each get some of the calls; say that the port is in use instead.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // A few compressed bytes can hold a message far beyond the receive cap, which is checked too
  // late; and pictures are compressed already.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
}

// `listen` with its port replaced; as it is for a unix socket, which has none.
std::string WithPort(const std::string& listen, int port) {
  if (listen.starts_with("unix")) return listen;
  return absl::StrCat(listen.substr(0, listen.rfind(':')), ":", port);
}

}  // namespace

absl::StatusOr<GrpcListener> Listen(const ServerFlags& flags,
                                    const std::vector<NamedService>& services) {
  gpr_set_log_function(ForwardLog);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  ASSIGN_OR_RETURN(auto credentials, Credentials(flags));
  grpc::ServerBuilder builder;
  SetLimits(flags, builder);
  int port = 0;
  builder.AddListeningPort(flags.listen, credentials, &port);
  for (const NamedService& named : services) builder.RegisterService(named.service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server || port == 0) {
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on ", flags.listen, ": is the address in use, or not of this machine?",
        flags.tls_cert.empty() ? "" : " Or do --tls-cert and --tls-key not match?"));
  }
  GrpcListener listener{std::move(server), WithPort(flags.listen, port), {}};
  for (const NamedService& named : services) listener.services.push_back(named.name);
  SetServing(listener, true);
  return listener;
}

void SetServing(GrpcListener& listener, bool serving) {
  grpc::HealthCheckServiceInterface* health = listener.server->GetHealthCheckService();
  for (const std::string& service : listener.services) health->SetServingStatus(service, serving);
  health->SetServingStatus(serving);
}

}  // namespace denoise
